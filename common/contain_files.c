/* SPDX-License-Identifier: Apache-2.0 */
/* contain_files: see contain_files.h. A file is allowed by its folder, so that one which is put in
 * its place (a renewed certificate) is allowed, too. */
#include "contain_files.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/landlock.h> of Debian 12 ends at version 2; the numbers are the kernel's interface. */
struct ruleset_attr {
	uint64_t access_fs, access_net, scoped;
};
struct path_beneath_attr {
	uint64_t access;
	int32_t fd;
} __attribute__((packed));

#define CREATE_VERSION 1
#define RULE_PATH_BENEATH 1

#define FS_EXECUTE (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_REG (1ULL << 8)
#define FS_MAKE_SOCK (1ULL << 9)
#define FS_MAKE_SYM (1ULL << 12)
#define FS_REFER (1ULL << 13)	  /* version 2 */
#define FS_TRUNCATE (1ULL << 14)  /* version 3 */
#define FS_IOCTL_DEV (1ULL << 15) /* version 5 */
#define SCOPE_SIGNAL (1ULL << 1)  /* version 6 */
#define FS_OF_FILE (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)

#define READ (FS_READ_FILE | FS_READ_DIR)
#define WRITE                                                                                      \
	(READ | FS_WRITE_FILE | FS_REMOVE_FILE | FS_MAKE_REG | FS_MAKE_SOCK | FS_REFER |           \
	    FS_TRUNCATE)

struct files {
	int ruleset;
	uint64_t handled;
};

static uint64_t
known_rights(int version)
{
	uint64_t all = (FS_MAKE_SYM << 1) - 1;

	if (version >= 2)
		all |= FS_REFER;
	if (version >= 3)
		all |= FS_TRUNCATE;
	if (version >= 5)
		all |= FS_IOCTL_DEV;
	return all;
}

/* What is not there needs no right. */
static void
allow_exactly(const struct files *f, const char *path, uint64_t access)
{
	struct path_beneath_attr rule = { .access = access & f->handled };
	struct stat st;

	rule.fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.fd < 0)
		return;
	if (fstat(rule.fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.access &= FS_OF_FILE;
	(void)syscall(SYS_landlock_add_rule, f->ruleset, RULE_PATH_BENEATH, &rule, 0);
	(void)close(rule.fd);
}

/* A folder as it is; a file by its folder, unless that is the root. */
static void
allow(const struct files *f, const char *path, uint64_t access)
{
	char folder[PATH_MAX], *slash;
	struct stat st;

	if (path == NULL || path[0] == '\0' || strlen(path) >= sizeof(folder))
		return;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		allow_exactly(f, path, access);
		return;
	}
	memcpy(folder, path, strlen(path) + 1);
	slash = strrchr(folder, '/');
	if (slash == NULL)
		allow_exactly(f, ".", access);
	else if (slash == folder)
		allow_exactly(f, path, access);
	else {
		*slash = '\0';
		allow_exactly(f, folder, access);
	}
}

/* Names, resolver, time zones, certificates, modules of the C library and of OpenSSL. */
static void
allow_system(const struct files *f)
{
	static const char *const folders[] = { "/etc", "/usr", "/lib", "/lib64", "/bin", "/sbin",
		"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
		"/var/lib/ca-certificates", "/sys/devices/system/cpu", "/proc/sys", "/proc/meminfo",
		"/proc/stat", "/proc/cpuinfo" };
	static const char *const devices[] = { "/dev/null", "/dev/urandom", "/dev/random",
		"/dev/full", "/dev/zero" };

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		allow_exactly(f, folders[i], READ);
#ifdef KAIRAN_SANITIZED /* the search for leaks lists threads and maps */
	allow_exactly(f, "/proc", READ);
#endif
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		allow_exactly(f, devices[i], READ | FS_WRITE_FILE);
}

/* What libpq, OpenSSL and the chain of Amazon's credentials look for. */
static void
allow_environment(const struct files *f)
{
	static const char *const variables[] = { "PGPASSFILE", "PGSERVICEFILE", "PGSSLCERT",
		"PGSSLKEY", "PGSSLROOTCERT", "PGSSLCRL", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"OPENSSL_CONF", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_CA_BUNDLE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"CREDENTIALS_DIRECTORY" };
	static const char *const at_home[] = { ".pgpass", ".pg_service.conf", ".postgresql",
		".aws" };
	const char *home = getenv("HOME");
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		allow(f, getenv(variables[i]), READ);
	for (size_t i = 0; home != NULL && i < sizeof(at_home) / sizeof(at_home[0]); i++)
		if (snprintf(path, sizeof(path), "%s/%s", home, at_home[i]) < (int)sizeof(path))
			allow_exactly(f, path, READ);
}

static void
allow_database(const struct files *f, const char *url)
{
	static const char *const names[] = { "passfile", "sslcert", "sslkey", "sslrootcert",
		"sslcrl", "sslcrldir", "servicefile" };
	PQconninfoOption *options = PQconninfoParse(url, NULL);

	for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(o->keyword, names[i]) == 0)
				allow(f, o->val, READ);
	PQconninfoFree(options);
}

/* arguments: a value "unix:/path", or anything else, which names no file */
static void
allow_socket(const struct files *f, const char *listen)
{
	if (strncmp(listen, "unix:", 5) == 0)
		allow(f, listen + 5, WRITE);
}

static void
allow_configured(const struct files *f, const struct config *c, enum contain_role role)
{
	const char *const dispatcher[] = { c->keys_file, c->dkim_dir, c->relay_tls_ca_file,
		c->relay_tls_cert_file, c->relay_tls_key_file, c->relay_auth_file, c->ses_ca_file,
		c->mx_ca_file, c->pace_providers, c->source_file };
	const char *const feedback[] = { c->keys_file, c->feedback_sns_cert_dir,
		c->feedback_sns_ca_file, c->postfix_log_file, c->sqs_ca_file, c->s3_ca_file,
		c->web_words, c->mailbox_password_file, c->mailbox_ca_file, c->web_machines,
		c->webhook_keys_file, c->smtp_tls_cert_file, c->smtp_tls_key_file,
		c->smtp_rules_file, c->reply_ca_file };
	const char *const *reads = role == CONTAIN_DISPATCHER ? dispatcher : feedback;
	size_t count = role == CONTAIN_DISPATCHER ? sizeof(dispatcher) / sizeof(*dispatcher)
						  : sizeof(feedback) / sizeof(*feedback);

	allow_database(f, c->database_url);
	for (size_t i = 0; i < count; i++)
		allow(f, reads[i], READ);
	if (role == CONTAIN_DISPATCHER) {
		allow(f, c->dispatcher_state_dir, WRITE);
		return;
	}
	allow(f, c->feedback_maildir, WRITE);
	allow(f, c->feedback_mbox, WRITE); /* by its folder, where its lock is made */
	allow(f, c->reply_maildir, WRITE);
	allow_socket(f, c->feedback_lmtp_listen);
	if (c->postfix_log_file[0] != '\0')
		allow(f, c->postfix_log_state_file, WRITE);
}

int
contain_files(const struct config *config, enum contain_role role, struct err *err)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, CREATE_VERSION);
	struct ruleset_attr attr = { 0 };
	struct files f;
	size_t size;
	long failed;

	if (version < 1)
		return 0;
	f.handled = attr.access_fs = known_rights((int)version);
	if (version >= 6)
		attr.scoped = SCOPE_SIGNAL;
	size = version >= 6 ? sizeof(attr) : sizeof(attr.access_fs);
	f.ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (f.ruleset < 0)
		return err_set(err, "contain: Landlock: %s", strerror(errno));
	allow_system(&f);
	allow_environment(&f);
	allow_configured(&f, config, role);
#ifdef KAIRAN_CRASH_POINTS
	allow(&f, getenv("KAIRAN_CRASH_LOG"), WRITE);
	allow(&f, getenv("KAIRAN_CRASH_ARMED"), READ);
#endif
	failed = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (failed == 0)
		failed = syscall(SYS_landlock_restrict_self, f.ruleset, 0);
	(void)close(f.ruleset);
	return failed == 0 ? (int)version : err_set(err, "contain: Landlock: %s", strerror(errno));
}
