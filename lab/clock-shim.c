/*
 * clock-shim: takes the CPU from VPP in the moment in which it estimates the frequency of the
 * processor's counter, as a busy machine may. Loaded with LD_PRELOAD.
 *
 * VPP looks at the system's clock (vppinfra's unix_time_now) until a millisecond is over, and then at
 * the counter. This library lets what looks at the clock so often wait before it hands on the look
 * that ends the millisecond: the counter has gone on meanwhile, and VPP's clock goes too slowly for good.
 * A processor that tells its frequency (CPUID 0x15, 0x16) is not estimated.
 *
 * CLOCK_SHIM names a directory: each VPP takes one file away from it, and is held if there was one.
 *
 * Build: cc -O2 -shared -fPIC -o clock-shim.so clock-shim.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HELD_NS 300000000L

static long (*real_syscall) (long, ...);

/* Whether this process is to be held: it was not before, and there is a file to be taken away. */
static int
is_to_be_held (void)
{
  const char *path = getenv ("CLOCK_SHIM");
  DIR *directory = path ? opendir (path) : NULL;
  struct dirent *entry;
  int taken = 0;
  if (!directory)
    return 0;
  while (!taken && (entry = readdir (directory)) != NULL)
    taken = entry->d_name[0] != '.' && unlinkat (dirfd (directory), entry->d_name, 0) == 0;
  closedir (directory);
  return taken;
}

static double
seconds (const struct timespec *at)
{
  return at->tv_sec + 1e-9 * at->tv_nsec;
}

/* The estimate is the first to look at the clock by syscall(), and looks a thousand times. */
static void
looked (const struct timespec *at)
{
  static double first;
  static int looks, over;
  struct timespec held = { .tv_nsec = HELD_NS };
  if (over)
    return;
  looks += 1;
  if (looks == 1 || seconds (at) - first > 0.1)
    {
      first = seconds (at);
      looks = 1;
      return;
    }
  if (seconds (at) < first + 1e-3)
    return;
  over = 1;
  if (looks > 10 && is_to_be_held ())
    nanosleep (&held, NULL);
}

long
syscall (long number, ...)
{
  va_list args;
  long a[6], answer;
  va_start (args, number);
  for (int i = 0; i < 6; i++)
    a[i] = va_arg (args, long);
  va_end (args);
  if (!real_syscall)
    real_syscall = dlsym (RTLD_NEXT, "syscall");
  answer = real_syscall (number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (number == SYS_clock_gettime && answer == 0)
    looked ((const struct timespec *) a[1]);
  return answer;
}
