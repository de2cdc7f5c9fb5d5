/** Puts a program where another container starts it. */
import { chmod, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode, syncDirectory } from './files.js';

export type Installed = 'installed' | 'replaced' | 'identical';

/**
 * Who starts it at any moment finds the old program or the new one, never a part, never none; one that runs goes on. What is identical is
 * left alone. The directory has to be there: one that is made here would be seen by nobody else. Rejects with path, cause and step.
 */
export async function installProgram(source: string, path: string): Promise<Installed> {
  const program = await readFile(source).catch((error: unknown) => {
    throw new Error(
      `${source} cannot be read (${errorCode(error)}): it is a part of the image, built from native/`,
      { cause: error },
    );
  });
  const directory = dirname(path);
  try {
    const there = await readIfFile(path);
    if (there?.equals(program) === true) {
      await makeExecutable(path);
      return 'identical';
    }
    await replace(path, program);
    return there === undefined ? 'installed' : 'replaced';
  } catch (error) {
    const code = errorCode(error);
    const step =
      code === 'ENOENT'
        ? `the directory is not there: mount the host's ${directory} at it`
        : code === 'ENOSPC'
          ? 'make room on its file system'
          : `make ${directory} writable for this container`;
    throw new Error(`${path} cannot be written (${code ?? (error as Error).message}): ${step}`, {
      cause: error,
    });
  }
}

const mode = 0o755;

async function makeExecutable(path: string): Promise<void> {
  if (((await stat(path)).mode & 0o777) !== mode) await chmod(path, mode);
}

async function readIfFile(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function replace(path: string, program: Buffer): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.tmp`);
  try {
    // Of a life that was killed in the middle of it.
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', mode);
    try {
      // The mode given to open passes through the umask.
      await file.chmod(mode);
      await file.writeFile(program);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}
