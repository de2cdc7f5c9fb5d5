/*
 * A program at a memif that means no good: it connects to @vpp/memif-eth0 in its network namespace, as often as it is told, and
 *
 *   close      closes at once
 *   hello      closes when it has read VPP's greeting
 *   garbage    answers that with 128 random bytes
 *   introduce  introduces itself as any program does, which a second one may not
 *   queues     has 200 queues
 *   nowhere    has a queue in memory that it has not given
 *   squat      has the name itself, until it is ended; writes "here"
 *
 * It writes "refused" for each message that was not acknowledged.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MESSAGE 128
enum { ACK = 1, INIT = 3, ADD_REGION = 4, ADD_RING = 5, CONNECT = 6 };

static const char name[] = "vpp/memif-eth0";
static const socklen_t name_end = offsetof (struct sockaddr_un, sun_path) + sizeof name;

static void
squat (void)
{
  struct sockaddr_un at = { .sun_family = AF_UNIX };
  int s = socket (AF_UNIX, SOCK_SEQPACKET, 0);
  memcpy (at.sun_path + 1, name, sizeof name - 1);
  if (bind (s, (struct sockaddr *) &at, name_end) == 0 && listen (s, 1) == 0)
    puts ("here");
  fflush (stdout);
  pause ();
}

static int
dial (void)
{
  struct sockaddr_un at = { .sun_family = AF_UNIX };
  struct timeval wait = { .tv_sec = 2 };
  int s = socket (AF_UNIX, SOCK_SEQPACKET, 0);
  memcpy (at.sun_path + 1, name, sizeof name - 1);
  setsockopt (s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  if (connect (s, (struct sockaddr *) &at, name_end) == 0)
    return s;
  puts ("not connected");
  exit (0);
}

/* Bytes of a message, little-endian as on the machines that VPP runs on. */
static void
put (uint8_t *message, int *at, uint64_t value, int bytes)
{
  memcpy (message + *at, &value, bytes);
  *at += bytes;
}

/* Waits for the answer. */
static void
say (int s, const uint8_t *message, int fd)
{
  uint8_t answer[2 * MESSAGE] = { 0 };
  char control[CMSG_SPACE (sizeof fd)] = { 0 };
  struct iovec part = { (void *) message, MESSAGE };
  struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
  if (fd >= 0)
    {
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      struct cmsghdr *c = CMSG_FIRSTHDR (&header);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN (sizeof fd);
      memcpy (CMSG_DATA (c), &fd, sizeof fd);
    }
  if (sendmsg (s, &header, MSG_NOSIGNAL) < 0 || recv (s, answer, sizeof answer, 0) <= 0 || answer[0] != ACK)
    puts ("refused");
}

static void
introduce (int s)
{
  uint8_t m[MESSAGE] = { 0 };
  int at = 0;
  put (m, &at, INIT, 2);
  put (m, &at, 0x0200, 2); /* version */
  put (m, &at, 0, 4);      /* id */
  put (m, &at, 1, 1);      /* mode: IP */
  say (s, m, -1);
}

static void
add_region (int s)
{
  uint8_t m[MESSAGE] = { 0 };
  int at = 0, fd = memfd_create ("region", 0);
  uint64_t size = 1 << 22;
  if (ftruncate (fd, size) < 0)
    exit (1);
  put (m, &at, ADD_REGION, 2);
  put (m, &at, 0, 2);
  put (m, &at, size, 8);
  say (s, m, fd);
  close (fd);
}

static void
add_ring (int s, int index, int region, uint32_t offset)
{
  uint8_t m[MESSAGE] = { 0 };
  int at = 0, fd = eventfd (0, 0);
  put (m, &at, ADD_RING, 2);
  put (m, &at, 1, 2); /* from the program to VPP */
  put (m, &at, index, 2);
  put (m, &at, region, 2);
  put (m, &at, offset, 4);
  put (m, &at, 4, 1); /* log2 of its size */
  put (m, &at, 0, 2);
  say (s, m, fd);
  close (fd);
}

static void
connect_rings (int s)
{
  uint8_t m[MESSAGE] = { CONNECT };
  say (s, m, -1);
}

int
main (int argc, char **argv)
{
  if (argc != 3)
    return 2;
  const char *what = argv[1];
  if (strcmp (what, "squat") == 0)
    squat ();
  for (int left = atoi (argv[2]); left > 0; left--)
    {
      uint8_t greeting[2 * MESSAGE], garbage[MESSAGE];
      int s = dial ();
      if (strcmp (what, "close") != 0)
	recv (s, greeting, sizeof greeting, 0);
      if (strcmp (what, "garbage") == 0 && getrandom (garbage, sizeof garbage, 0) > 0)
	send (s, garbage, sizeof garbage, MSG_NOSIGNAL);
      if (strcmp (what, "introduce") == 0 || strcmp (what, "queues") == 0 || strcmp (what, "nowhere") == 0)
	introduce (s);
      if (strcmp (what, "queues") == 0)
	{
	  add_region (s);
	  for (int index = 0; index < 200; index++)
	    add_ring (s, index, 0, 0);
	  connect_rings (s);
	}
      if (strcmp (what, "nowhere") == 0)
	{
	  add_ring (s, 0, 7, 0xffff0000);
	  connect_rings (s);
	}
      close (s);
      usleep (50000);
    }
  return 0;
}
