/* SPDX-License-Identifier: Apache-2.0 */
/* contain: what a contained process can still do, tried in children of this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "contain.h"
#include "log.h"

#define ENDED_BY_FILTER (128 + SIGSYS)

static char folder[] = "/tmp/kairan-contain.XXXXXX";
static char elsewhere[] = "/tmp/kairan-contain.XXXXXX";
static char state_dir[64], outside[64];
static struct config config;
static char said[8192]; /* standard error of the last child */

static int
prepare(void **state)
{
	struct err err = { 0 };
	char file[96];
	int fd;

	(void)state;
	if (mkdtemp(folder) == NULL || mkdtemp(elsewhere) == NULL)
		return -1;
	(void)snprintf(state_dir, sizeof(state_dir), "%s/state", folder);
	/* the folder of the configuration may be read */
	(void)snprintf(outside, sizeof(outside), "%s/outside", elsewhere);
	(void)snprintf(file, sizeof(file), "%s/kairan.conf", folder);
	if (mkdir(state_dir, 0700) < 0)
		return -1;
	fd = open(outside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	(void)close(fd);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	(void)close(fd);
	(void)setenv("KAIRAN_DISPATCHER_STATE_DIR", state_dir, 1);
	return config_load(&config, file, &err);
}

static int
clean(void **state)
{
	char file[96];

	(void)state;
	(void)snprintf(file, sizeof(file), "%s/kairan.conf", folder);
	(void)unlink(file);
	(void)unlink(outside);
	(void)rmdir(elsewhere);
	(void)rmdir(state_dir);
	(void)rmdir(folder);
	config_release(&config);
	return 0;
}

/* Runs what in a contained child: its exit status, or 128 + signal. */
static int
in_child(enum contain_role role, int (*what)(void))
{
	struct err err = { 0 };
	int pair[2], status = 0;
	ssize_t n;
	size_t got = 0;
	pid_t pid;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		(void)dup2(pair[1], STDERR_FILENO);
		(void)close(pair[1]);
		contain_process();
		if (role == CONTAIN_PARSER ? !contain_parser()
					   : contain_begin(&config, role, &err) < 0)
			_exit(99);
		_exit(what());
	}
	(void)close(pair[1]);
	while ((n = read(pair[0], said + got, sizeof(said) - 1 - got)) > 0)
		got += (size_t)n;
	said[got] = '\0';
	(void)close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#if defined(KAIRAN_SANITIZED) || defined(KAIRAN_COVERAGE)
#define NEEDS_FILTER                                                                               \
	do {                                                                                       \
		(void)state;                                                                       \
		print_message(                                                                     \
		    "# skipped: sanitizers and coverage need system calls of their own\n");        \
		return;                                                                            \
	} while (0)
#else
#define NEEDS_FILTER (void)state
#endif

static int
try_exec(void)
{
	char *const words[] = { (char *)(uintptr_t) "true", NULL };

	(void)execve("/bin/true", words, environ);
	return 3;
}

static int
try_trace(void)
{
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	return 3;
}

static int
try_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid < 0 ? 0 : 3;
}

static int
try_listen(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd >= 0 && listen(fd, 1) < 0 && errno == ENOSYS ? 0 : 3;
}

static int
try_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == ENOSYS ? 0 : 3;
}

static int
try_executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0)
		return 3;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0) == MAP_FAILED
	    ? 0
	    : 3;
}

static int
try_foreign_signal(void)
{
	return kill(getppid(), 0) < 0 ? 0 : 3;
}

static void *
nothing(void *p)
{
	return p;
}

/* What a program does all day. */
static int
try_work(void)
{
	struct addrinfo *list = NULL;
	char path[96];
	pthread_t t;
	int fd;

	if (pthread_create(&t, NULL, nothing, NULL) != 0 || pthread_join(t, NULL) != 0)
		return 4;
	(void)getaddrinfo("localhost", "25", NULL, &list);
	if (list == NULL)
		return 5;
	freeaddrinfo(list);
	(void)snprintf(path, sizeof(path), "%s/lock", state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) < 0 || close(fd) < 0 || unlink(path) < 0)
		return 6;
	return 0;
}

static void
test_hostile_calls_end_it(void **state)
{
	NEEDS_FILTER;
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_exec), ENDED_BY_FILTER);
	assert_non_null(strstr(said, "system call"));
	assert_non_null(strstr(said, "is never made here"));
	assert_int_equal(in_child(CONTAIN_FEEDBACK, try_exec), ENDED_BY_FILTER);
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_trace), ENDED_BY_FILTER);
}

static void
test_other_calls_fail(void **state)
{
	NEEDS_FILTER;
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_fork), 0);
	assert_int_equal(in_child(CONTAIN_FEEDBACK, try_fork), 0);
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_listen), 0);
	assert_non_null(strstr(said, "was refused"));
	assert_int_equal(in_child(CONTAIN_FEEDBACK, try_listen), 3); /* it serves */
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_packet), 0);
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_executable_memory), 0);
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_foreign_signal), 0);
}

static void
test_work_goes_on(void **state)
{
	NEEDS_FILTER;
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_work), 0);
	assert_null(strstr(said, "system call"));
	assert_int_equal(in_child(CONTAIN_PRODUCER, try_work), 0);
}

static int
try_hook(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		(void)execl("/bin/true", "true", (char *)NULL);
		_exit(7);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 4;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 5;
}

static int
try_kernel(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 && errno == EPERM ? 0 : 3;
}

static void
test_producer_runs_hooks(void **state)
{
	NEEDS_FILTER;
	assert_int_equal(in_child(CONTAIN_PRODUCER, try_hook), 0);
	assert_int_equal(in_child(CONTAIN_PRODUCER, try_kernel), 0);
}

/* ---- files ------------------------------------------------------------------------------ */

static int
try_outside(void)
{
	int fd = open(outside, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		return 3;
	if (errno != EACCES)
		return 4;
	fd = open("/etc/kairan-not-there", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0) {
		(void)unlink("/etc/kairan-not-there");
		return 5;
	}
	return errno == EACCES ? 0 : 6;
}

static int
try_inside(void)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	char path[96];

	if (fd < 0 || close(fd) < 0)
		return 3;
	(void)snprintf(path, sizeof(path), "%s/journal", state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd >= 0 && close(fd) == 0 && unlink(path) == 0 ? 0 : 4;
}

static int
try_other_process(void)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)getppid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 && errno == EACCES ? 0 : 3;
}

static void
test_files(void **state)
{
	(void)state;
#ifdef KAIRAN_COVERAGE
	print_message("# skipped: this build writes what it covered\n");
	return;
#endif
	if (syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1) < 1) {
		print_message("# skipped: this kernel has no Landlock\n");
		return;
	}
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_outside), 0);
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_inside), 0);
#ifndef KAIRAN_SANITIZED /* they read /proc */
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_other_process), 0);
#else
	(void)try_other_process;
#endif
	assert_int_equal(in_child(CONTAIN_FEEDBACK, try_outside), 0);
	assert_int_equal(in_child(CONTAIN_FEEDBACK, try_inside), 4); /* not its folder */
}

/* ---- the parser ------------------------------------------------------------------------- */

static int
try_open(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 3;
}

static int
try_socket(void)
{
	(void)socket(AF_INET, SOCK_STREAM, 0);
	return 3;
}

static int
try_plain_fork(void)
{
	(void)fork();
	return 3;
}

static void
test_parser(void **state)
{
	NEEDS_FILTER;
	assert_int_equal(in_child(CONTAIN_PARSER, try_open), 0);
	assert_int_equal(in_child(CONTAIN_PARSER, try_socket), ENDED_BY_FILTER);
	assert_int_equal(in_child(CONTAIN_PARSER, try_plain_fork), ENDED_BY_FILTER);
	assert_int_equal(in_child(CONTAIN_PARSER, try_exec), ENDED_BY_FILTER);
}

/* ---- off, and what is always on --------------------------------------------------------- */

static int
look_at_process(void)
{
	struct rlimit core;

	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0)
		return 4;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 5;
#ifndef KAIRAN_SANITIZED
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 6;
#endif
	return 0;
}

static void
test_off(void **state)
{
	(void)state;
	config.contain_enable = false;
	assert_int_equal(in_child(CONTAIN_DISPATCHER, try_hook), 0);
	assert_non_null(strstr(said, "not contained: contain.enable = no"));
	assert_int_equal(in_child(CONTAIN_DISPATCHER, look_at_process), 0);
	config.contain_enable = true;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_hostile_calls_end_it),
		cmocka_unit_test(test_other_calls_fail), cmocka_unit_test(test_work_goes_on),
		cmocka_unit_test(test_producer_runs_hooks), cmocka_unit_test(test_files),
		cmocka_unit_test(test_parser), cmocka_unit_test(test_off) };

	(void)log_open("test", "info");
	return cmocka_run_group_tests(tests, prepare, clean);
}
