/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contain: see contain.h. The lists of system calls are here, those of files in
 * contain_files.c. Owns the handler of SIGSYS.
 */
#include "contain.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "contain_files.h"
#include "log.h"

#define STATUS_VIOLATION (128 + SIGSYS)

/* libseccomp gives names that an architecture lacks a negative number of their own. */
#define CALL(name) SCMP_SYS(name)
#define END_OF_CALLS (-1)

/* What every program does on its way: memory, threads, time, signals to itself, open descriptors. */
static const int calls_basic[] = { CALL(read), CALL(write), CALL(readv), CALL(writev),
	CALL(pread64), CALL(pwrite64), CALL(close), CALL(fstat), CALL(lseek), CALL(poll),
	CALL(ppoll), CALL(select), CALL(pselect6), CALL(futex), CALL(clock_gettime),
	CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(time),
	CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigpending),
	CALL(rt_sigtimedwait), CALL(sigaltstack), CALL(getpid), CALL(gettid), CALL(getppid),
	CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(sched_yield),
	CALL(sched_getaffinity), CALL(set_robust_list), CALL(get_robust_list), CALL(rseq),
	CALL(set_tid_address), CALL(exit), CALL(exit_group), CALL(restart_syscall), CALL(madvise),
	CALL(munmap), CALL(mremap), CALL(brk), CALL(membarrier), CALL(getrandom), CALL(uname),
	CALL(sysinfo), CALL(getrlimit), CALL(getrusage), CALL(times), CALL(pause), END_OF_CALLS };

/* Files (which ones, Landlock says), sockets as a client, the event loop. */
static const int calls_service[] = { CALL(open), CALL(openat), CALL(access), CALL(faccessat),
	CALL(faccessat2), CALL(stat), CALL(lstat), CALL(statx), CALL(newfstatat), CALL(statfs),
	CALL(fstatfs), CALL(readlink), CALL(readlinkat), CALL(getdents64), CALL(getcwd),
	CALL(fsync), CALL(fdatasync), CALL(flock), CALL(ftruncate), CALL(fallocate),
	CALL(fadvise64), CALL(msync), CALL(unlink), CALL(unlinkat), CALL(rename), CALL(renameat),
	CALL(renameat2), CALL(umask), CALL(dup), CALL(dup2), CALL(dup3), CALL(fcntl), CALL(pipe),
	CALL(pipe2), CALL(eventfd2), CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait),
	CALL(epoll_pwait), CALL(epoll_pwait2), CALL(timerfd_create), CALL(timerfd_settime),
	CALL(connect), CALL(bind), CALL(sendto), CALL(recvfrom), CALL(sendmsg), CALL(recvmsg),
	CALL(sendmmsg), CALL(recvmmsg), CALL(shutdown), CALL(getsockname), CALL(getpeername),
	CALL(getsockopt), CALL(setsockopt), END_OF_CALLS };

static const int calls_server[] = { CALL(listen), CALL(accept), CALL(accept4), END_OF_CALLS };

static const int calls_feedback[] = { CALL(chmod), CALL(fchmod), CALL(link), CALL(linkat),
	CALL(inotify_init1), CALL(inotify_add_watch), CALL(inotify_rm_watch), END_OF_CALLS };

static const int calls_none[] = { END_OF_CALLS };

/* The parser of mails: its socket and its memory. */
static const int calls_parser[] = { CALL(read), CALL(write), CALL(recvfrom), CALL(sendto),
	CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise), CALL(futex), CALL(rt_sigreturn),
	CALL(rt_sigprocmask), CALL(getpid), CALL(gettid), CALL(clock_gettime), CALL(gettimeofday),
	CALL(setitimer), CALL(getrusage), CALL(exit), CALL(exit_group), END_OF_CALLS };

/* No honest program here does these: they are an attack. */
static const int calls_hostile[] = { CALL(execve), CALL(execveat), CALL(fork), CALL(vfork),
	CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev), CALL(kcmp),
	CALL(pidfd_getfd), CALL(mount), CALL(umount2), CALL(pivot_root), CALL(chroot), CALL(setns),
	CALL(unshare), CALL(bpf), CALL(perf_event_open), CALL(userfaultfd), CALL(init_module),
	CALL(finit_module), CALL(delete_module), CALL(kexec_load), CALL(kexec_file_load),
	CALL(reboot), CALL(swapon), CALL(swapoff), CALL(add_key), CALL(request_key), CALL(keyctl),
	CALL(setuid), CALL(setgid), CALL(setreuid), CALL(setregid), CALL(setresuid),
	CALL(setresgid), CALL(capset), CALL(personality), CALL(iopl), CALL(ioperm), CALL(mknod),
	CALL(mknodat), CALL(memfd_create), END_OF_CALLS };

/* What a hook's program does not need either. */
static const int calls_kernel[] = { CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev),
	CALL(kcmp), CALL(pidfd_getfd), CALL(mount), CALL(umount2), CALL(pivot_root), CALL(chroot),
	CALL(setns), CALL(unshare), CALL(bpf), CALL(perf_event_open), CALL(userfaultfd),
	CALL(init_module), CALL(finit_module), CALL(delete_module), CALL(kexec_load),
	CALL(kexec_file_load), CALL(reboot), CALL(swapon), CALL(swapoff), CALL(add_key),
	CALL(request_key), CALL(keyctl), CALL(iopl), CALL(ioperm), CALL(io_uring_setup),
	CALL(settimeofday), CALL(clock_settime), CALL(adjtimex), CALL(clock_adjtime),
	CALL(sethostname), CALL(setdomainname), CALL(quotactl), CALL(acct), CALL(syslog),
	END_OF_CALLS };

void
contain_process(void)
{
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	(void)umask(077);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#ifndef KAIRAN_SANITIZED /* its search for leaks traces the process */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

/* ---- what happens on a violation -------------------------------------------------------- */

/* In a signal handler: write() and no memory. */
static void
say_number(const char *before, int number, const char *behind)
{
	char line[160], digits[12];
	size_t n = 0, d = sizeof(digits);

	while (*before != '\0' && n < 80)
		line[n++] = *before++;
	do
		digits[--d] = (char)('0' + number % 10);
	while ((number /= 10) > 0 && d > 0);
	while (d < sizeof(digits))
		line[n++] = digits[d++];
	while (*behind != '\0' && n < sizeof(line))
		line[n++] = *behind++;
	(void)!write(STDERR_FILENO, line, n);
}

static bool
is_on(const int *calls, int number)
{
	for (; *calls != END_OF_CALLS; calls++)
		if (*calls == number)
			return true;
	return false;
}

static void
on_violation(int signal_number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	int kept = errno;

	(void)signal_number;
	if (is_on(calls_hostile, info->si_syscall)) {
		say_number("error contain: system call ", info->si_syscall,
		    " is never made here, ending; was this process attacked?\n");
		_exit(STATUS_VIOLATION);
	}
	say_number("error contain: system call ", info->si_syscall,
	    " is not allowed and was refused; set contain.enable = no if this stops work\n");
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
#elif defined(__aarch64__)
	uc->uc_mcontext.regs[0] = (unsigned long long)-ENOSYS;
#else
	_exit(STATUS_VIOLATION);
#endif
	errno = kept;
}

/* ---- filters ---------------------------------------------------------------------------- */

static int
add_calls(scmp_filter_ctx filter, uint32_t action, const int *calls)
{
	for (; *calls != END_OF_CALLS; calls++) {
		int failed = *calls < 0 ? 0 : seccomp_rule_add(filter, action, *calls, 0);

		if (failed < 0 && failed != -EDOM)
			return failed;
	}
	return 0;
}

/* Memory is writable or executable, never both, and never becomes executable. */
static int
add_memory(scmp_filter_ctx filter, bool may_load)
{
	static const uint64_t both = PROT_WRITE | PROT_EXEC;
	int failed = 0;

	failed |= seccomp_rule_add(
	    filter, SCMP_ACT_ALLOW, CALL(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (may_load) /* the resolver of the C library loads its modules */
		failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(mmap), 1,
		    SCMP_A2(SCMP_CMP_MASKED_EQ, both, PROT_EXEC));
	failed |= seccomp_rule_add(
	    filter, SCMP_ACT_ALLOW, CALL(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return failed;
}

/* Threads, no processes; sockets of the network families; signals to ourselves. */
static int
add_arguments(scmp_filter_ctx filter)
{
	static const unsigned families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
	static const unsigned operations[] = { PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE };
	static const unsigned requests[] = { 0x5421 /* FIONBIO */, 0x5451 /* FIOCLEX */,
		0x541B /* FIONREAD */, 0x5401 /* TCGETS */, 0x5413 /* TIOCGWINSZ */ };
	uint64_t self = (uint64_t)getpid();
	int failed = 0;

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		failed |= seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, CALL(socket), 1, SCMP_A0_32(SCMP_CMP_EQ, families[i]));
	/* libcurl wakes itself and hears of its resolver by a pair of its own */
	failed |= seccomp_rule_add(
	    filter, SCMP_ACT_ALLOW, CALL(socketpair), 1, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX));
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		failed |= seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, CALL(prctl), 1, SCMP_A0_32(SCMP_CMP_EQ, operations[i]));
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		failed |= seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, CALL(ioctl), 1, SCMP_A1_32(SCMP_CMP_EQ, requests[i]));
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(clone), 1,
	    SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	/* its flags lie in memory, which a filter cannot read: the C library falls back */
	failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0);
	failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), CALL(io_uring_setup), 0);
	failed |=
	    seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(kill), 1, SCMP_A0_32(SCMP_CMP_EQ, self));
	failed |= seccomp_rule_add(
	    filter, SCMP_ACT_ALLOW, CALL(tgkill), 1, SCMP_A0_32(SCMP_CMP_EQ, self));
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(prlimit64), 2,
	    SCMP_A0_32(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
	return failed;
}

static int
load_filter(const struct config *config, enum contain_role role, struct err *err)
{
	bool is_list = role != CONTAIN_PRODUCER;
	bool is_server = role == CONTAIN_FEEDBACK || config->dispatcher_metrics_listen[0] != '\0';
	scmp_filter_ctx filter = seccomp_init(is_list ? SCMP_ACT_TRAP : SCMP_ACT_ALLOW);
	int failed;

	if (filter == NULL)
		return err_set(err, "contain: no memory");
	failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (is_list) {
		failed |= add_calls(filter, SCMP_ACT_ALLOW, calls_basic);
		failed |= add_calls(filter, SCMP_ACT_ALLOW, calls_service);
		failed |= add_calls(
		    filter, SCMP_ACT_ALLOW, role == CONTAIN_FEEDBACK ? calls_feedback : calls_none);
		failed |= add_calls(filter, SCMP_ACT_ALLOW, is_server ? calls_server : calls_none);
		failed |= add_memory(filter, true);
		failed |= add_arguments(filter);
	} else {
		failed |= add_calls(filter, SCMP_ACT_ERRNO(EPERM), calls_kernel);
	}
	if (failed == 0)
		failed = seccomp_load(filter);
	seccomp_release(filter);
	return failed == 0
	    ? 0
	    : err_set(err, "contain: the filter of system calls: %s", strerror(-failed));
}

bool
contain_parser(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int failed = filter == NULL ? -ENOMEM : 0;

	if (failed != 0)
		return false;
	failed |= add_calls(filter, SCMP_ACT_ALLOW, calls_parser);
	failed |= add_memory(filter, false);
	/* an encoding that was not loaded beforehand is unknown */
	failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), CALL(openat), 0);
	failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), CALL(newfstatat), 0);
	if (failed == 0)
		failed = seccomp_load(filter);
	seccomp_release(filter);
	return failed == 0;
}

/* Why system calls are not filtered; NULL when they are. */
static const char *
no_filter(void)
{
	unsigned action = SCMP_ACT_TRAP;

#ifdef KAIRAN_SANITIZED
	return "off, the sanitizers need more";
#endif
	return syscall(SYS_seccomp, 2 /* SECCOMP_GET_ACTION_AVAIL */, 0, &action) == 0
	    ? NULL
	    : "off, the kernel has no seccomp";
}

int
contain_begin(const struct config *config, enum contain_role role, struct err *err)
{
	struct sigaction action = { .sa_sigaction = on_violation, .sa_flags = SA_SIGINFO };
	const char *calls = no_filter(), *files = "off, hooks inherit it";

	if (!config->contain_enable) {
		log_warn("not contained: contain.enable = no");
		return 0;
	}
#ifdef KAIRAN_COVERAGE
	log_warn("not contained: this build writes what it covered");
	return 0;
#endif
	if (role != CONTAIN_PRODUCER) {
		int version = contain_files(config, role, err);

		if (version < 0)
			return -1;
		files = version > 0 ? "listed" : "off, the kernel has no Landlock";
	}
	if (calls == NULL) {
		calls = role == CONTAIN_PRODUCER ? "all but the kernel's administration" : "listed";
		(void)sigaction(SIGSYS, &action, NULL);
		if (load_filter(config, role, err) < 0)
			return -1;
	}
	log_info("contained calls=\"%s\" files=\"%s\"", calls, files);
	return 0;
}
