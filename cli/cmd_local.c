/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_local: `kairan local up|down|status`: a PostgreSQL and a Redis of one's own in a folder,
 * for trying and testing. Both listen on unix sockets only, in a folder that only their user
 * may enter. Nothing outside the folder is touched but a short socket folder under /tmp when
 * the path is too long or too odd for a socket. Programs are started by fork and exec, without
 * a shell.
 *
 *   DIR/pg  DIR/redis   data          DIR/run or DIR/run.path   sockets
 *   DIR/pg.log, redis.log logs           DIR/state                 of the dispatcher
 *   DIR/kairan.conf     configuration DIR/token.key             secret
 *   DIR/simulator       of `ses simulator`, with simulator.pid, .ports and .log beside it
 */
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "migrate.h"
#include "ses_simulator.h"

#define SOCKET_NAME "/.s.PGSQL.5432"
#define SOCKET_PATH_MAX 107
#define START_MS 60000
#define STOP_MS 30000
#define POLL_MS 20
#define MARK "# made by kairan local up; without this line it is kept as it is"

struct local {
	struct cli *cli;
	char dir[PATH_MAX];   /* absolute */
	char run[PATH_MAX];   /* folder of the sockets */
	char bin[PATH_MAX];   /* folder of initdb and postgres */
	char redis[PATH_MAX]; /* redis-server */
	char admin[64];	      /* superuser of the PostgreSQL: the user of the system */
	uid_t uid;	      /* whom the servers run as */
	gid_t gid;
	char user[64];
	bool drop; /* root: the servers run as somebody else */
	bool pg_started, redis_started;
	bool simulates;		/* Amazon SES is imitated, too, at: */
	int ses_port, sns_port; /* and kairan-feedback is told there */
};

static int path_in(const struct local *l, const char *name, char dst[PATH_MAX]) MUST_CHECK;

static int
path_in(const struct local *l, const char *name, char dst[PATH_MAX])
{
	return snprintf(dst, PATH_MAX, "%.3500s/%s", l->dir, name) < PATH_MAX ? 0 : -1;
}

static void
wait_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* ---------------------------------------------------------------- processes */

/* In the child: become the servers' user for good. */
static bool
drop_rights(const struct local *l)
{
	return !l->drop ||
	    (initgroups(l->user, l->gid) == 0 && setresgid(l->gid, l->gid, l->gid) == 0 &&
		setresuid(l->uid, l->uid, l->uid) == 0);
}

/* In the child: PostgreSQL's own variables could lead it elsewhere. */
static void
clean_environment(void)
{
	static const char *const names[] = { "PGDATA", "PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER",
		"PGDATABASE", "PGPASSWORD", "PGSERVICE", "PGOPTIONS", "PG_COLOR" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unsetenv(names[i]);
	(void)setenv("LC_ALL", "C", 1);
}

/* Starts argv with its output appended to log; daemon: in a session of its own. Returns the
 * process, or -1. */
static pid_t
start(const struct local *l, const char *log, bool daemon, const char *const *argv)
{
	pid_t pid;
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (in < 0 || out < 0) {
		if (in >= 0)
			close(in);
		if (out >= 0)
			close(out);
		return -1;
	}
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (daemon)
			(void)setsid();
		(void)signal(SIGPIPE, SIG_DFL);
		(void)umask(077);
		if (!drop_rights(l) || chdir("/") < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
		    dup2(out, 2) < 0)
			_exit(126);
		clean_environment();
		(void)execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(in);
	close(out);
	return pid;
}

/* Runs argv to its end; its exit status, or -1. */
static int
run(const struct local *l, const char *log, const char *const *argv)
{
	pid_t pid = start(l, log, false, argv);
	int status;

	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The last line of a log, to explain what went wrong. */
static void
last_line(const char *log, char *dst, size_t size)
{
	char line[512];
	FILE *in = fopen(log, "re");

	dst[0] = '\0';
	while (in != NULL && fgets(line, sizeof(line), in) != NULL)
		if (strspn(line, " \t\r\n") != strlen(line))
			(void)snprintf(dst, size, "%.*s", (int)strcspn(line, "\r\n"), line);
	if (in != NULL)
		fclose(in);
}

static int
failed_with_log(const struct local *l, const char *what, const char *log)
{
	char line[512];

	last_line(log, line, sizeof(line));
	return cli_fail(l->cli, EXIT_FAILED, "%s: %s (more in %s)", what,
	    line[0] != '\0' ? line : "no message", log);
}

/* ---------------------------------------------------------------- where things are */

static bool
has_program(const char *folder, const char *name)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path) &&
	    access(path, X_OK) == 0;
}

static bool
find_in_path(const char *name, char dst[PATH_MAX])
{
	const char *path = getenv("PATH");

	for (path = path != NULL ? path : "/usr/bin:/bin"; *path != '\0';) {
		size_t n = strcspn(path, ":");

		if (n > 0 && n + strlen(name) + 2 < PATH_MAX) {
			memcpy(dst, path, n);
			dst[n] = '\0';
			if (has_program(dst, name))
				return true;
		}
		path += n + (path[n] == ':');
	}
	return false;
}

/* What `pg_config --bindir` prints. */
static bool
ask_pg_config(char dst[PATH_MAX])
{
	char folder[PATH_MAX], program[PATH_MAX + 16];
	int ends[2], status;
	size_t n = 0;
	ssize_t k;
	pid_t pid;

	if (!find_in_path("pg_config", folder) || pipe2(ends, O_CLOEXEC) < 0)
		return false;
	(void)snprintf(program, sizeof(program), "%s/pg_config", folder);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (dup2(ends[1], 1) < 0)
			_exit(126);
		(void)execl(program, program, "--bindir", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	while (n + 1 < PATH_MAX && (k = read(ends[0], dst + n, PATH_MAX - 1 - n)) > 0)
		n += (size_t)k;
	close(ends[0]);
	dst[n] = '\0';
	dst[strcspn(dst, "\n")] = '\0';
	return pid > 0 && waitpid(pid, &status, 0) == pid && has_program(dst, "initdb");
}

/* "15" of DIR/pg/PG_VERSION; "" when there is no data yet. */
static void
data_version(const struct local *l, char *dst, size_t size)
{
	char path[PATH_MAX];
	FILE *in;

	dst[0] = '\0';
	if (path_in(l, "pg/PG_VERSION", path) < 0 || (in = fopen(path, "re")) == NULL)
		return;
	if (fgets(dst, (int)size, in) == NULL)
		dst[0] = '\0';
	dst[strcspn(dst, "\n")] = '\0';
	fclose(in);
}

static bool
find_debian_bin(const char *version, char dst[PATH_MAX])
{
	char pattern[80];
	glob_t found;
	bool ok = false;

	(void)snprintf(pattern, sizeof(pattern), "/usr/lib/postgresql/%.20s/bin/initdb",
	    version[0] != '\0' ? version : "*");
	if (glob(pattern, 0, NULL, &found) == 0) {
		const char *last = found.gl_pathv[found.gl_pathc - 1];

		ok = snprintf(dst, PATH_MAX, "%.*s", (int)(strlen(last) - strlen("/initdb")),
			 last) < PATH_MAX;
		globfree(&found);
	}
	return ok;
}

/* Data made by one major version only opens with that one. */
static int
find_programs(struct local *l)
{
	char version[24];
	bool found;

	data_version(l, version, sizeof(version));
	found = version[0] != '\0' && find_debian_bin(version, l->bin);
	if (!found)
		found = ask_pg_config(l->bin) || find_debian_bin("", l->bin) ||
		    find_in_path("initdb", l->bin);
	if (!found || !has_program(l->bin, "postgres"))
		return cli_fail(l->cli, EXIT_FAILED,
		    "there is no PostgreSQL server here; install it (Debian: postgresql-15)");
	if (!find_in_path("redis-server", l->redis))
		return cli_fail(l->cli, EXIT_FAILED,
		    "there is no redis-server here; install it (Debian: redis-server)");
	(void)strncat(l->redis, "/redis-server", sizeof(l->redis) - strlen(l->redis) - 1);
	return EXIT_DONE;
}

static int
find_users(struct local *l)
{
	const struct passwd *me = getpwuid(geteuid());

	if (me == NULL)
		return cli_fail(l->cli, EXIT_FAILED,
		    "user number %ld has no name, which PostgreSQL needs; add it to /etc/passwd",
		    (long)geteuid());
	(void)snprintf(l->admin, sizeof(l->admin), "%s", me->pw_name);
	(void)snprintf(l->user, sizeof(l->user), "%s", me->pw_name);
	l->uid = me->pw_uid;
	l->gid = me->pw_gid;
	l->drop = l->uid == 0;
	if (l->drop) {
		const struct passwd *pg = getpwnam("postgres");

		if (pg == NULL)
			return cli_fail(l->cli, EXIT_FAILED,
			    "PostgreSQL refuses to run as root and there is no user postgres; run "
			    "this as another user");
		l->uid = pg->pw_uid;
		l->gid = pg->pw_gid;
		(void)snprintf(l->user, sizeof(l->user), "postgres");
	}
	return EXIT_DONE;
}

static bool
is_simple_path(const char *path)
{
	for (; *path != '\0'; path++)
		if (!((*path >= 'a' && *path <= 'z') || (*path >= 'A' && *path <= 'Z') ||
			(*path >= '0' && *path <= '9') || strchr("/._-", *path) != NULL))
			return false;
	return true;
}

/* DIR/run, or a folder under /tmp named by a hash of DIR when that is too long or holds
 * characters that libpq and Redis would want quoted, each in its own way. */
static int
find_run(struct local *l)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (path_in(l, "run", l->run) == 0 && is_simple_path(l->run) &&
	    strlen(l->run) + strlen(SOCKET_NAME) <= SOCKET_PATH_MAX)
		return EXIT_DONE;
	if (EVP_Digest(l->dir, strlen(l->dir), md, &n, EVP_sha256(), NULL) != 1)
		return cli_fail(
		    l->cli, EXIT_FAILED, "cannot compute a digest; is OpenSSL complete?");
	(void)snprintf(l->run, sizeof(l->run), "/tmp/kairan-%lu-%02x%02x%02x%02x%02x%02x%02x%02x",
	    (unsigned long)geteuid(), md[0], md[1], md[2], md[3], md[4], md[5], md[6], md[7]);
	return EXIT_DONE;
}

/* make: the folder is made when it is missing. */
static int
find_dir(struct local *l, const char *name, bool make)
{
	char copy[PATH_MAX];

	if (strlen(name) > 2000 || strpbrk(name, "\n\r;") != NULL)
		return cli_fail(l->cli, EXIT_USAGE,
		    "the name of the folder is too long, or holds a line end or ';'");
	(void)snprintf(copy, sizeof(copy), "%s", name);
	if (make && mkdir(copy, l->drop ? 0711 : 0700) < 0 && errno != EEXIST)
		return cli_fail(l->cli, EXIT_FAILED, "cannot make %s: %s", name, strerror(errno));
	if (realpath(copy, l->dir) == NULL) {
		if (make || errno != ENOENT)
			return cli_fail(
			    l->cli, EXIT_FAILED, "cannot use %s: %s", name, strerror(errno));
		l->dir[0] = '\0';
	}
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- folders */

/* A folder of the servers, or of the caller. An old one must belong to the same user. */
static int
make_folder(const struct local *l, const char *path, bool of_servers)
{
	uid_t owner = of_servers ? l->uid : geteuid();
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return cli_fail(l->cli, EXIT_FAILED, "cannot make %s: %s", path, strerror(errno));
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return cli_fail(l->cli, EXIT_FAILED, "%s is not a folder; take it away", path);
	if (st.st_uid != owner && st.st_uid == geteuid() && lchown(path, l->uid, l->gid) == 0)
		return EXIT_DONE;
	if (st.st_uid != owner)
		return cli_fail(l->cli, EXIT_FAILED,
		    "%s belongs to another user; run this as that user, or take another folder",
		    path);
	if ((st.st_mode & 077) != 0 && chmod(path, 0700) < 0)
		return cli_fail(
		    l->cli, EXIT_FAILED, "cannot close %s to others: %s", path, strerror(errno));
	return EXIT_DONE;
}

/* As root: can the servers' user come into DIR? */
static bool
user_can_enter(const struct local *l)
{
	pid_t pid;
	int status;

	if (!l->drop)
		return true;
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(drop_rights(l) && access(l->dir, X_OK) == 0 ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int
write_file(const struct local *l, const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	size_t n = strlen(text);
	bool fine = fd >= 0 && write(fd, text, n) == (ssize_t)n;

	if (fd >= 0 && close(fd) < 0)
		fine = false;
	return fine ? EXIT_DONE
		    : cli_fail(l->cli, EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
}

static int
make_folders(const struct local *l)
{
	static const struct {
		const char *name;
		bool of_servers;
	} folders[] = { { "pg", true }, { "redis", true }, { "state", false } };
	char path[PATH_MAX];
	int code = EXIT_DONE;

	if (!user_can_enter(l))
		return cli_fail(l->cli, EXIT_FAILED,
		    "user %s, as whom PostgreSQL runs for root, cannot enter %s; take a folder "
		    "elsewhere: kairan local up /var/tmp/kairan-local",
		    l->user, l->dir);
	for (size_t i = 0; code == EXIT_DONE && i < sizeof(folders) / sizeof(folders[0]); i++)
		code = path_in(l, folders[i].name, path) < 0
		    ? EXIT_FAILED
		    : make_folder(l, path, folders[i].of_servers);
	if (code == EXIT_DONE)
		code = make_folder(l, l->run, true);
	if (code == EXIT_DONE && path_in(l, "run.path", path) == 0)
		code = write_file(l, path, l->run);
	return code;
}

/* ---------------------------------------------------------------- PostgreSQL */

static bool
pg_answers(const struct local *l)
{
	char conninfo[PATH_MAX + 200];

	(void)snprintf(conninfo, sizeof(conninfo),
	    "host='%s' port=5432 dbname=postgres user='%s' connect_timeout=5", l->run, l->admin);
	return PQping(conninfo) == PQPING_OK;
}

static int
make_data(const struct local *l, const char *data, const char *log)
{
	char initdb[PATH_MAX + 16];
	locale_t utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
	const char *argv[] = { initdb, "-D", data, "-U", l->admin, "-A", "trust", "-E", "UTF8",
		utf8 != (locale_t)0 ? "--locale=C.UTF-8" : "--locale=C", "--no-instructions",
		NULL };
	char version[24];

	if (utf8 != (locale_t)0)
		freelocale(utf8);
	data_version(l, version, sizeof(version));
	if (version[0] != '\0')
		return EXIT_DONE;
	(void)snprintf(initdb, sizeof(initdb), "%s/initdb", l->bin);
	if (run(l, log, argv) != 0)
		return failed_with_log(l, "initdb failed", log);
	return EXIT_DONE;
}

/* Waits until answers() or the process ends. */
static bool
wait_ready(const struct local *l, pid_t pid, bool (*answers)(const struct local *l))
{
	for (long waited = 0; waited < START_MS; waited += POLL_MS) {
		int status;

		if (answers(l))
			return true;
		if (waitpid(pid, &status, WNOHANG) == pid)
			return false;
		wait_ms(POLL_MS);
	}
	return false;
}

static int
start_pg(struct local *l)
{
	char data[PATH_MAX], log[PATH_MAX], postgres[PATH_MAX + 16], sockets[PATH_MAX + 30];
	const char *argv[] = { postgres, "-D", data, "-c", "listen_addresses=", "-c", "port=5432",
		"-c", sockets, "-c", "unix_socket_permissions=0700", NULL };
	pid_t pid;
	int code;

	if (pg_answers(l))
		return EXIT_DONE;
	if (path_in(l, "pg", data) < 0 || path_in(l, "pg.log", log) < 0)
		return EXIT_FAILED;
	(void)snprintf(sockets, sizeof(sockets), "unix_socket_directories=%s", l->run);
	code = make_data(l, data, log);
	if (code != EXIT_DONE)
		return code;
	(void)snprintf(postgres, sizeof(postgres), "%s/postgres", l->bin);
	pid = start(l, log, true, argv);
	if (pid < 0 || !wait_ready(l, pid, pg_answers))
		return failed_with_log(l, "PostgreSQL did not start", log);
	l->pg_started = true;
	return EXIT_DONE;
}

static int
stop_pg(const struct local *l, bool *stopped)
{
	char data[PATH_MAX], log[PATH_MAX], pg_ctl[PATH_MAX + 16], pid[PATH_MAX];
	const char *argv[] = { pg_ctl, "-D", data, "-m", "fast", "-w", "-t", "60", "-s", "stop",
		NULL };

	*stopped = false;
	if (path_in(l, "pg", data) < 0 || path_in(l, "pg.log", log) < 0 ||
	    path_in(l, "pg/postmaster.pid", pid) < 0 || access(pid, F_OK) < 0)
		return EXIT_DONE;
	(void)snprintf(pg_ctl, sizeof(pg_ctl), "%s/pg_ctl", l->bin);
	*stopped = run(l, log, argv) == 0;
	if (!*stopped && pg_answers(l))
		return failed_with_log(l, "PostgreSQL did not stop", log);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- Redis */

/* Sends one inline command over the socket; true when the answer begins with wanted. An empty
 * answer (closed) counts when wanted is "". */
static bool
redis_says(const struct local *l, const char *command, const char *wanted)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 5 };
	char answer[128];
	ssize_t n = -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)snprintf(to.sun_path, sizeof(to.sun_path), "%.90s/redis.sock", l->run);
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 &&
	    send(fd, command, strlen(command), MSG_NOSIGNAL) == (ssize_t)strlen(command))
		n = recv(fd, answer, sizeof(answer), 0);
	close(fd);
	return n >= (ssize_t)strlen(wanted) && memcmp(answer, wanted, strlen(wanted)) == 0;
}

static bool
redis_answers(const struct local *l)
{
	return redis_says(l, "PING\r\n", "+PONG");
}

static int
start_redis(struct local *l)
{
	char data[PATH_MAX], log[PATH_MAX], sock[PATH_MAX];
	const char *argv[] = { l->redis, "--port", "0", "--unixsocket", sock, "--unixsocketperm",
		"700", "--dir", data, "--save", "", "--appendonly", "no", "--daemonize", "no",
		NULL };
	pid_t pid;

	if (redis_answers(l))
		return EXIT_DONE;
	if (path_in(l, "redis", data) < 0 || path_in(l, "redis.log", log) < 0)
		return EXIT_FAILED;
	(void)snprintf(sock, sizeof(sock), "%.4000s/redis.sock", l->run);
	pid = start(l, log, true, argv);
	if (pid < 0 || !wait_ready(l, pid, redis_answers))
		return failed_with_log(l, "Redis did not start", log);
	l->redis_started = true;
	return EXIT_DONE;
}

static int
stop_redis(const struct local *l, bool *stopped)
{
	*stopped = false;
	if (!redis_answers(l))
		return EXIT_DONE;
	(void)redis_says(l, "SHUTDOWN NOSAVE\r\n", "");
	for (long waited = 0; waited < STOP_MS && redis_answers(l); waited += POLL_MS)
		wait_ms(POLL_MS);
	*stopped = !redis_answers(l);
	return *stopped
	    ? EXIT_DONE
	    : cli_fail(l->cli, EXIT_FAILED, "Redis at %s/redis.sock did not stop", l->run);
}

/* ---------------------------------------------------------------- simulator of Amazon SES */

/* On the loopback; a port of 0 is chosen by the system. The port, or -1: taken. */
static int
try_port(int port, bool connects)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(to);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), result = -1;

	if (fd >= 0 &&
	    (connects ? connect(fd, (struct sockaddr *)&to, size)
		      : bind(fd, (struct sockaddr *)&to, size)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&to, &size) == 0)
		result = connects ? port : ntohs(to.sin_port);
	if (fd >= 0)
		close(fd);
	return result;
}

static bool
simulator_answers(const struct local *l)
{
	return try_port(l->ses_port, true) > 0;
}

/* Numbers that an earlier start has written; false: there are none. */
static bool
read_numbers(const struct local *l, const char *name, int *a, int *b)
{
	char path[PATH_MAX];
	FILE *in = path_in(l, name, path) == 0 ? fopen(path, "re") : NULL;
	char line[64] = "", *end = line;

	if (in != NULL && fgets(line, sizeof(line), in) == NULL)
		line[0] = '\0';
	if (in != NULL)
		fclose(in);
	*a = (int)strtol(line, &end, 10);
	*b = (int)strtol(end, NULL, 10);
	return *a > 0;
}

static int
write_numbers(const struct local *l, const char *name, int a, int b)
{
	char path[PATH_MAX], text[64];

	(void)snprintf(text, sizeof(text), "%d %d\n", a, b);
	return path_in(l, name, path) < 0 ? EXIT_FAILED : write_file(l, path, text);
}

static int
start_simulator(struct local *l)
{
	char self[PATH_MAX], folder[PATH_MAX], log[PATH_MAX], listen[40], feedback[60];
	const char *argv[] = { self, "ses", "simulator", folder, "--listen", listen, "--feedback",
		feedback, NULL };
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	pid_t pid;
	int code;

	if (n <= 0 || path_in(l, "simulator", folder) < 0 || path_in(l, "simulator.log", log) < 0)
		return EXIT_FAILED;
	self[n] = '\0';
	if (!read_numbers(l, "simulator.ports", &l->ses_port, &l->sns_port)) {
		l->ses_port = try_port(0, false);
		l->sns_port = try_port(0, false);
	}
	code = make_folder(l, folder, true);
	if (code == EXIT_DONE)
		code = write_numbers(l, "simulator.ports", l->ses_port, l->sns_port);
	if (code != EXIT_DONE || simulator_answers(l))
		return code;
	(void)snprintf(listen, sizeof(listen), "127.0.0.1:%d", l->ses_port);
	(void)snprintf(feedback, sizeof(feedback), "http://127.0.0.1:%d/sns", l->sns_port);
	pid = start(l, log, true, argv);
	if (pid < 0 || !wait_ready(l, pid, simulator_answers))
		return failed_with_log(l, "the simulator did not start", log);
	return write_numbers(l, "simulator.pid", (int)pid, 0);
}

/* Is that process still ours? Numbers of processes are used again. */
static bool
is_simulator(pid_t pid)
{
	static const char words[] = "ses\0simulator";
	char path[64], line[PATH_MAX];
	FILE *in;
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	in = fopen(path, "re");
	n = in != NULL ? fread(line, 1, sizeof(line), in) : 0;
	if (in != NULL)
		fclose(in);
	return memmem(line, n, words, sizeof(words)) != NULL;
}

static bool
stop_simulator(const struct local *l)
{
	int pid, zero;

	if (!read_numbers(l, "simulator.pid", &pid, &zero) || !is_simulator(pid) ||
	    kill(pid, SIGTERM) < 0)
		return false;
	for (long waited = 0; waited < STOP_MS && is_simulator(pid); waited += POLL_MS)
		wait_ms(POLL_MS);
	return !is_simulator(pid);
}

/* ---------------------------------------------------------------- database, configuration */

static int
make_database(const struct local *l)
{
	static const char there[] = "SELECT FROM pg_database WHERE datname = 'kairan'";
	char url[PATH_MAX + 200];
	struct migrate_report report;
	struct err err = { 0 };
	PGresult *result;
	struct db db;
	int code = EXIT_DONE;

	(void)snprintf(
	    url, sizeof(url), "host='%s' port=5432 dbname=postgres user='%s'", l->run, l->admin);
	if (db_open(&db, url, NULL, "kairan", &err) < 0)
		return cli_fail(l->cli, EXIT_TEMPORARY, "%s", err.msg);
	result = db_query(&db, there, 0, NULL);
	if (result == NULL ||
	    (PQntuples(result) == 0 && db_run(&db, "CREATE DATABASE kairan", 0, NULL) < 0))
		code = cli_db_failed(l->cli, &db, "making the database");
	PQclear(result);
	db_close(&db);
	if (code != EXIT_DONE)
		return code;
	(void)snprintf(
	    url, sizeof(url), "host='%s' port=5432 dbname=kairan user='%s'", l->run, l->admin);
	if (db_open(&db, url, NULL, "kairan", &err) < 0)
		return cli_fail(l->cli, EXIT_TEMPORARY, "%s", err.msg);
	if (migrate_apply(&db, &report, &err) < 0 || migrate_open_months(&db, &err) < 0)
		code = cli_fail(l->cli, EXIT_FAILED, "%s", err.msg);
	db_close(&db);
	return code;
}

/* A configuration that somebody made his own by taking the first line away stays. */
static bool
is_ours(const char *path)
{
	char line[200] = "";
	FILE *in = fopen(path, "re");
	bool ours = in == NULL || fgets(line, sizeof(line), in) == NULL ||
	    strncmp(line, MARK, strlen(MARK)) == 0;

	if (in != NULL)
		fclose(in);
	return ours;
}

static int
write_config(const struct local *l)
{
	char path[PATH_MAX], key[PATH_MAX], text[8 * PATH_MAX];
	enum migrate_key what;
	int n;
	struct err err = { 0 };

	if (path_in(l, "kairan.conf", path) < 0 || path_in(l, "token.key", key) < 0)
		return EXIT_FAILED;
	if (migrate_key_file(key, &what, &err) < 0)
		return cli_fail(l->cli, EXIT_FAILED, "%s", err.msg);
	if (!is_ours(path))
		return EXIT_DONE;
	n = snprintf(text, sizeof(text),
	    MARK "\n\n[database]\nurl = host=%s port=5432 dbname=kairan\n\n"
		 "[redis]\nurl = unix://%s/redis.sock\n\n[keys]\nfile = %s\n\n"
		 "[dispatcher]\nstate_dir = %s/state\n\n"
		 "# Where mail goes while you try: any SMTP server that keeps it, e.g. Mailpit.\n"
		 "[relay]\nhost = 127.0.0.1\nport = 1025\n\n"
		 "[feedback]\ndomain = bounce.kairan.test\nlmtp_listen = unix:%s/lmtp.sock\n",
	    l->run, l->run, key, l->dir, l->run);
	if (l->simulates)
		(void)snprintf(text + n, sizeof(text) - (size_t)n,
		    "http_listen = 127.0.0.1:%d\nsns_topics = " SES_SIMULATOR_TOPIC "\n"
		    "sns_cert_dir = %s/simulator\nsns_ca_file = %s/simulator/ca.pem\n\n"
		    "# An imitation of Amazon SES: nothing is sent to anybody.\n"
		    "[dispatcher]\ntransport = ses\n\n"
		    "[ses]\nendpoint = http://127.0.0.1:%d\nregion = " SES_SIMULATOR_REGION "\n"
		    "configuration_set = simulator\n",
		    l->sns_port, l->dir, l->dir, l->ses_port);
	return write_file(l, path, text);
}

/* ---------------------------------------------------------------- commands */

static const char *
take_dir(struct cli *cli, const struct cli_option *options, int argc, char **argv)
{
	argc = cli_options(cli, options, argc, argv);
	if (argc > 1)
		(void)cli_fail(cli, EXIT_USAGE, "name at most one folder; kairan help local");
	return argc < 0 || argc > 1 ? NULL : argc == 1 ? argv[0] : "./kairan-local";
}

/* For a shell: 'text', with quotes inside it broken up. */
static void
print_quoted(const char *text)
{
	putchar('\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
	}
	putchar('\'');
}

static void
print_up(const struct local *l, const char *config)
{
	if (l->cli->json) {
		cli_print_json(json_pack("{s:s, s:s, s:s, s:b, s:b}", "dir", l->dir, "run", l->run,
		    "config", config, "postgresql_started", l->pg_started, "redis_started",
		    l->redis_started));
		return;
	}
	printf("# PostgreSQL %s, Redis %s, sockets in %s\n",
	    l->pg_started ? "started" : "ran already", l->redis_started ? "started" : "ran already",
	    l->run);
	fputs("export KAIRAN_CONFIG=", stdout);
	print_quoted(config);
	if (l->simulates)
		printf("\nexport AWS_ACCESS_KEY_ID=simulator AWS_SECRET_ACCESS_KEY=simulator"
		       "\n# Amazon SES is imitated on port %d: mail goes to nobody",
		    l->ses_port);
	printf("\n# next: kairan customer import members.csv\n"
	       "#       kairan help campaign\n"
	       "#       psql -h %s kairan\n"
	       "# stop: kairan local down ",
	    l->run);
	print_quoted(l->dir);
	putchar('\n');
}

static int
run_up(struct cli *cli, int argc, char **argv)
{
	struct local l = { .cli = cli };
	const struct cli_option options[] = { { "simulator", NULL, "", NULL, &l.simulates },
		{ 0 } };
	const char *name = take_dir(cli, options, argc, argv);
	char config[PATH_MAX];
	int code;

	if (name == NULL)
		return EXIT_USAGE;
	code = find_users(&l);
	if (code == EXIT_DONE)
		code = find_dir(&l, name, true);
	if (code == EXIT_DONE)
		code = find_programs(&l);
	if (code == EXIT_DONE)
		code = find_run(&l);
	if (code == EXIT_DONE)
		code = make_folders(&l);
	if (code == EXIT_DONE)
		code = start_pg(&l);
	if (code == EXIT_DONE)
		code = start_redis(&l);
	if (code == EXIT_DONE)
		code = make_database(&l);
	if (code == EXIT_DONE && l.simulates)
		code = start_simulator(&l);
	if (code == EXIT_DONE)
		code = write_config(&l);
	if (code == EXIT_DONE && path_in(&l, "kairan.conf", config) == 0)
		print_up(&l, config);
	return code;
}

/* The folder as `up` left it; false when there is nothing. run.path counts, since the folder
 * may have been moved while the servers ran. */
static bool
find_old(struct local *l, const char *name, int *code)
{
	char path[PATH_MAX];
	FILE *in;

	*code = find_users(l);
	if (*code == EXIT_DONE)
		*code = find_dir(l, name, false);
	if (*code != EXIT_DONE || l->dir[0] == '\0' || path_in(l, "run.path", path) < 0 ||
	    (in = fopen(path, "re")) == NULL)
		return false;
	if (fgets(l->run, (int)sizeof(l->run), in) == NULL)
		l->run[0] = '\0';
	fclose(in);
	return l->run[0] == '/' && strlen(l->run) + strlen(SOCKET_NAME) <= SOCKET_PATH_MAX;
}

static int
run_down(struct cli *cli, int argc, char **argv)
{
	const char *name = take_dir(cli, NULL, argc, argv);
	struct local l = { .cli = cli };
	bool pg = false, redis = false;
	int code, pg_code;

	if (name == NULL)
		return EXIT_USAGE;
	if (!find_old(&l, name, &code))
		return code != EXIT_DONE
		    ? code
		    : cli_fail(cli, EXIT_NOTHING,
			  "%s was not made by kairan local up; nothing to stop", name);
	code = find_programs(&l);
	if (code != EXIT_DONE)
		return code;
	(void)stop_simulator(&l);
	code = stop_redis(&l, &redis);
	pg_code = stop_pg(&l, &pg);
	if (code == EXIT_DONE)
		code = pg_code;
	if (code != EXIT_DONE)
		return code;
	if (strncmp(l.run, "/tmp/", 5) == 0)
		(void)rmdir(l.run);
	if (cli->json)
		cli_print_json(
		    json_pack("{s:b, s:b}", "postgresql_stopped", pg, "redis_stopped", redis));
	else
		printf("PostgreSQL %s, Redis %s; the data stays in %s\n",
		    pg ? "stopped" : "was not running", redis ? "stopped" : "was not running",
		    l.dir);
	return EXIT_DONE;
}

static int
run_status(struct cli *cli, int argc, char **argv)
{
	const char *name = take_dir(cli, NULL, argc, argv);
	struct local l = { .cli = cli };
	bool there, pg, redis;
	int code;

	if (name == NULL)
		return EXIT_USAGE;
	there = find_old(&l, name, &code);
	if (code != EXIT_DONE)
		return code;
	pg = there && pg_answers(&l);
	redis = there && redis_answers(&l);
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:b, s:b}", "dir", there ? l.dir : name, "run",
		    there ? l.run : "", "postgresql", pg, "redis", redis));
	else
		printf("%s: PostgreSQL %s, Redis %s\n", there ? l.dir : name,
		    pg ? "runs" : "does not run", redis ? "runs" : "does not run");
	return pg && redis ? EXIT_DONE : EXIT_FAILED;
}

const struct cli_command cli_local_commands[] = {
	{ "local up", "[DIR] [--simulator]",
	    "start a PostgreSQL and a Redis of your own in a folder, for trying",
	    "Makes DIR (default ./kairan-local) if needed, with the schema, a key and a "
	    "configuration.\n"
	    "Unix sockets only; other servers on this host are not touched. Needs no root; for "
	    "root,\n"
	    "PostgreSQL and Redis run as the user postgres.\n"
	    "\n"
	    "  --simulator   also start an imitation of Amazon SES on the loopback (kairan ses\n"
	    "                simulator) and send by it: success@, bounce@, ooto@, complaint@ and\n"
	    "                suppressionlist@simulator.amazonses.com do what their names say\n"
	    "\n"
	    "Example:\n"
	    "  eval \"$(kairan local up /var/tmp/trial)\"\n",
	    false, run_up },
	{ "local down", "[DIR]", "stop what local up started; the data stays",
	    "Example:\n"
	    "  kairan local down /var/tmp/trial\n",
	    false, run_down },
	{ "local status", "[DIR]", "say whether both run (exit code 0) or not (1)",
	    "Example:\n"
	    "  kairan local status /var/tmp/trial --json\n",
	    false, run_status },
	{ 0 },
};
