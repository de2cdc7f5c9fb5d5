/*
 * felix-api-proxy: Felix's external dataplane driver, as far as Felix sees it. It moves bytes between the two pipes that Felix starts
 * it with (3: from Felix, 4: to Felix) and the socket of calico-vpp-node, and knows nothing of what they say, so that it never has to be
 * of the same release as either end.
 *
 * C, and the only part of the product that is: it runs in the container of calico-node, which has neither Node.js nor anything else that
 * connects pipes to a UNIX socket. Static, since that image's libc is not ours.
 *
 * Build: build.sh, for the image, for a checkout (`npm run build:native`) and for the tests.
 * Use:   Felix's DataplaneDriver; `felix-api-proxy SOCKET` for tests.
 *
 * Until somebody listens on the socket it waits, as long as Felix lives: Felix' pipe is then full, Felix stands still, and begins with
 * what is true by then. Once bytes have passed a connection cannot be replaced, the next reader would lack what came before: when
 * either end closes, this ends, and Felix, which ends with it, comes again with all it knows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	FROM_FELIX = 3,
	TO_FELIX = 4,
	/* As much as a pipe holds. */
	BUFFER_BYTES = 65536,
	RETRY_MS = 200,
	GONE = POLLHUP | POLLERR | POLLNVAL,
};

/* One direction. Read when empty, written until empty: who does not read holds the other end up. */
struct flow {
	int from;
	int to;
	size_t start;
	size_t end;
	char bytes[BUFFER_BYTES];
};

static struct flow to_node, to_felix;

static int is_full(const struct flow *flow)
{
	return flow->start < flow->end;
}

/* What can be done now. False: one end is gone. */
static int move(struct flow *flow)
{
	if (!is_full(flow)) {
		ssize_t count = read(flow->from, flow->bytes, sizeof flow->bytes);

		if (count <= 0)
			return count < 0 && (errno == EAGAIN || errno == EINTR);
		flow->start = 0;
		flow->end = count;
	}
	while (is_full(flow)) {
		ssize_t count = write(flow->to, flow->bytes + flow->start, flow->end - flow->start);

		if (count < 0)
			return errno == EAGAIN || errno == EINTR;
		flow->start += count;
	}
	return 1;
}

static int connected(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Felix has closed a pipe. Bytes that wait to be read do not wake this. */
static int felix_is_gone(int timeout_ms)
{
	struct pollfd ends[] = { { .fd = FROM_FELIX }, { .fd = TO_FELIX } };

	return poll(ends, 2, timeout_ms) > 0 && ((ends[0].revents | ends[1].revents) & GONE);
}

static void unblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/var/run/calico/felix-dataplane.sock";
	int node, told = 0;

	signal(SIGPIPE, SIG_IGN);
	while ((node = connected(path)) < 0) {
		if (!told++)
			fprintf(stderr, "felix-api-proxy: %s: %s; waiting for calico-vpp-node\n", path, strerror(errno));
		if (felix_is_gone(RETRY_MS))
			return 0;
	}
	to_node.from = FROM_FELIX;
	to_node.to = to_felix.from = node;
	to_felix.to = TO_FELIX;
	unblock(FROM_FELIX);
	unblock(TO_FELIX);
	unblock(node);
	for (;;) {
		/* Without events an end still tells that it is gone: what one that is gone has said before is of no use to anybody. */
		struct pollfd ends[] = {
			{ .fd = FROM_FELIX, .events = is_full(&to_node) ? 0 : POLLIN },
			{ .fd = TO_FELIX, .events = is_full(&to_felix) ? POLLOUT : 0 },
			{ .fd = node, .events = (is_full(&to_node) ? POLLOUT : 0) | (is_full(&to_felix) ? 0 : POLLIN) },
		};

		if (poll(ends, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			perror("felix-api-proxy: poll");
			return 1;
		}
		if ((ends[0].revents | ends[1].revents | ends[2].revents) & GONE)
			return 0;
		if (!move(&to_node) || !move(&to_felix))
			return 0;
	}
}
