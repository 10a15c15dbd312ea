/* SPDX-License-Identifier: Apache-2.0 */
/* identity: see identity.h. */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int
read_or_name(struct identity *id, struct err *err)
{
	unsigned char random[16];
	ssize_t n = pread(id->lock_fd, id->lock_id, 32, 0);

	if (n == 32 && strspn(id->lock_id, "0123456789abcdef") == 32)
		return 0;
	if (RAND_bytes(random, sizeof(random)) != 1)
		return err_set(err, "no random numbers");
	for (unsigned i = 0; i < 16; i++)
		(void)snprintf(id->lock_id + 2 * (size_t)i, 3, "%02x", random[i]);
	if (ftruncate(id->lock_fd, 0) < 0 || pwrite(id->lock_fd, id->lock_id, 32, 0) != 32 ||
	    fsync(id->lock_fd) < 0)
		return err_set(err, "cannot write the lock file: %s", strerror(errno));
	id->is_new = true;
	return 0;
}

int
identity_lock(struct identity *id, const struct config *config, struct err *err)
{
	char path[4096];
	int n;

	*id = (struct identity){ .lock_fd = -1 };
	n = snprintf(path, sizeof(path), "%s/dispatcher-%s.lock", config->dispatcher_state_dir,
	    config->dispatcher_name);
	if (n < 0 || n >= (int)sizeof(path) || strchr(config->dispatcher_name, '/') != NULL)
		return err_set(err, "dispatcher.name or dispatcher.state_dir is not usable");
	id->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (id->lock_fd < 0)
		return err_set(err,
		    "cannot open %s: %s; set dispatcher.state_dir to a folder of ours", path,
		    strerror(errno));
	if (flock(id->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		identity_unlock(id);
		return err_set(err,
		    "another dispatcher named '%s' runs here; give this one its own "
		    "dispatcher.name",
		    config->dispatcher_name);
	}
	if (read_or_name(id, err) < 0) {
		identity_unlock(id);
		return -1;
	}
	return 0;
}

void
identity_unlock(struct identity *id)
{
	if (id->lock_fd >= 0)
		close(id->lock_fd);
	id->lock_fd = -1;
}

int
identity_register(const struct identity *id, const struct config *config, struct db *db,
    const struct identity_word *word, struct identity_life *life, struct err *err)
{
	char host[256] = "", timeline[16], known[16], join_s[24];
	const char *params[] = { config->dispatcher_name, host, id->lock_id, timeline, known,
		word->whole ? "t" : "f", join_s };
	PGresult *r;
	int result = 0;

	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(timeline, sizeof(timeline), "%d", word->timeline);
	(void)snprintf(known, sizeof(known), "%d", word->life);
	(void)snprintf(join_s, sizeof(join_s), "%ld", config->dispatcher_join_s);
	r = db_query(db,
	    "SELECT id, (wait_s * 1000)::bigint FROM kairan.dispatcher_enter($1, $2, $3, $4, $5, "
	    "$6, $7)",
	    7, params);
	if (r == NULL)
		return err_set(err, "cannot register: %s", db->error);
	if (PQntuples(r) == 1)
		*life =
		    (struct identity_life){ (int)db_number(r, 0, 0), (uint64_t)db_number(r, 0, 1) };
	else
		result = err_set(err, "PostgreSQL failed over while the journal was compared");
	PQclear(r);
	return result;
}
