/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal: see journal.h. Owns the file, its lock and its mapping. The lock lives as long as the
 * process; the descriptor is never inherited. An outcome is told apart from the world here: all
 * errors of opening are the caller's, later there are none but "full".
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define PATH_MAX_BYTES 4096

struct journal {
	int fd;
	unsigned char *map;
	uint64_t bytes;
	uint32_t slots;
	uint32_t next;	     /* where the ring goes on */
	uint64_t generation; /* of the last mark */
	uint64_t claim_seq;
	bool *busy; /* by slot: waits for its RECORD */
	uint32_t busy_count;
	struct journal_mark *found;
	size_t found_count;
	size_t corrupt; /* slots that make no sense */
	struct journal_header header;
	char boot_id[JOURNAL_BOOT_ID + 1];
	char damage[200];
};

static unsigned char *
slot_at(const struct journal *j, uint32_t slot)
{
	return j->map + journal_file_bytes(slot);
}

/* ---- opening ---- */

/* Shared mappings of these are not one memory for all processes that see the file, or their
 * locks are not. statfs(2), linux/magic.h. */
static const char *
network_name(unsigned long type)
{
	static const struct {
		unsigned long type;
		const char *name;
	} names[] = {
		{ NFS_SUPER_MAGIC, "NFS" },
		{ SMB_SUPER_MAGIC, "SMB" },
		{ 0xfe534d42, "SMB" },
		{ 0xff534d42, "CIFS" },
		{ AFS_SUPER_MAGIC, "AFS" },
		{ 0x6b414653, "AFS" },
		{ CODA_SUPER_MAGIC, "Coda" },
		{ NCP_SUPER_MAGIC, "NCP" },
		{ V9FS_MAGIC, "9P" },
		{ 0x00c36400, "Ceph" },
		{ 0x01161970, "GFS2" },
		{ 0x7461636f, "OCFS2" },
		{ 0x0bd00bd0, "Lustre" },
		{ 0x65735546, "FUSE" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == type)
			return names[i].name;
	return NULL;
}

static int
check_file(int fd, const char *path, struct err *err)
{
	struct stat st, there;
	struct statfs fs;
	const char *network;

	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return err_set(err, "cannot look at %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(err, "%s is no plain file of its own; remove it", path);
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return err_set(err,
		    "%s must belong to the user of the dispatcher with mode 600; give it back, "
		    "or move it away: then what earlier lives held is in doubt",
		    path);
	network = network_name((unsigned long)fs.f_type & 0xffffffffUL);
	if (network != NULL)
		return err_set(err,
		    "%s lies on a network file system (%s); set dispatcher.state_dir to a folder "
		    "of a local disk",
		    path, network);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, "another process holds %s", path);
	/* between open and lock it may have been put aside by a process that has ended since */
	if (stat(path, &there) < 0 || there.st_ino != st.st_ino || there.st_dev != st.st_dev)
		return err_set(err, "%s was replaced just now; start again", path);
	return 0;
}

static int
open_file(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0)
		return err_set(err, "cannot open %s: %s", path, strerror(errno));
	if (check_file(fd, path, err) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Every page must be there before it is written to: a hole that finds the disk full would kill
 * us (SIGBUS) in the middle of sending. */
static int
map_file(struct journal *j, const char *path, struct err *err)
{
	struct stat st;
	int problem;

	if (fstat(j->fd, &st) < 0)
		return err_set(err, "cannot look at %s: %s", path, strerror(errno));
	j->bytes = journal_file_bytes(j->slots);
	if ((uint64_t)st.st_size > j->bytes)
		j->bytes = (uint64_t)st.st_size;
	problem = posix_fallocate(j->fd, 0, (off_t)j->bytes);
	if (problem != 0)
		return err_set(err, "cannot reserve %llu bytes for %s: %s",
		    (unsigned long long)j->bytes, path, strerror(problem));
	j->map = mmap(NULL, j->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);
	if (j->map == MAP_FAILED) {
		j->map = NULL;
		return err_set(err, "cannot map %s: %s", path, strerror(errno));
	}
	return 0;
}

/* ---- reading what was found ---- */

static int
compare_attempts(const struct journal_attempt *a, const struct journal_attempt *b)
{
	if (a->owner != b->owner)
		return a->owner < b->owner ? -1 : 1;
	if (a->run != b->run)
		return a->run < b->run ? -1 : 1;
	if (a->send != b->send)
		return a->send < b->send ? -1 : 1;
	return a->attempt < b->attempt ? -1 : a->attempt > b->attempt;
}

/* The newest of an attempt comes first. */
static int
compare_marks(const void *left, const void *right)
{
	const struct journal_mark *a = left, *b = right;
	int order = compare_attempts(&a->attempt, &b->attempt);

	if (order != 0)
		return order;
	return a->generation > b->generation ? -1 : a->generation < b->generation;
}

static void
read_slots(struct journal *j)
{
	size_t kept = 0;

	for (uint32_t i = 0; i < j->slots; i++) {
		struct journal_mark *mark = &j->found[j->found_count];

		enum journal_reading reading = journal_slot_read(slot_at(j, i), mark);

		j->corrupt += reading == JOURNAL_CORRUPT;
		if (reading != JOURNAL_MARK)
			continue;
		if (mark->generation > j->generation) {
			j->generation = mark->generation;
			j->next = (i + 1) % j->slots;
		}
		if (mark->generation > j->header.first_generation)
			j->found_count++;
	}
	qsort(j->found, j->found_count, sizeof(*j->found), compare_marks);
	for (size_t i = 0; i < j->found_count; i++)
		if (kept == 0 ||
		    compare_attempts(&j->found[kept - 1].attempt, &j->found[i].attempt) != 0)
			j->found[kept++] = j->found[i];
	j->found_count = kept;
}

static void
read_boot_id(char boot_id[JOURNAL_BOOT_ID + 1])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, boot_id, JOURNAL_BOOT_ID) : -1;

	if (fd >= 0)
		close(fd);
	boot_id[n == JOURNAL_BOOT_ID ? n : 0] = '\0';
}

/* Looks at the header: 0 when the file can be used as it is; with err: 1 when it is damaged, -1 when it
 * cannot be looked at now. */
static int
read_header(struct journal *j, const char *lock_id, uint32_t slots, struct err *err)
{
	struct stat st;
	struct err why = { 0 };
	unsigned char *bytes;
	int result = 1;

	if (fstat(j->fd, &st) < 0)
		return err_set(err, "cannot look at the journal: %s", strerror(errno));
	if (st.st_size > 0) {
		bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, j->fd, 0);
		if (bytes == MAP_FAILED)
			return err_set(err, "cannot map the journal: %s", strerror(errno));
		result = journal_header_read(bytes, (uint64_t)st.st_size, &j->header, &why);
		(void)munmap(bytes, (size_t)st.st_size);
	}
	if (result == 0 && strcmp(j->header.lock_id, lock_id) != 0)
		result = err_set(&why, "it belongs to another lock file");
	if (result < 0) {
		(void)snprintf(j->damage, sizeof(j->damage), "%.199s", why.msg);
		(void)err_set(err, "%s", why.msg);
		return 1;
	}
	if (result == 1)
		j->header = (struct journal_header){ .slots = slots };
	memcpy(j->header.lock_id, lock_id, JOURNAL_LOCK_ID);
	j->slots = j->header.slots;
	return 0;
}

/* A damaged file is kept for a person, under another name. */
static int
put_aside(struct journal *j, const char *path, struct err *err)
{
	char aside[PATH_MAX_BYTES];
	int n = snprintf(aside, sizeof(aside), "%s.damaged-%lld", path, (long long)time(NULL));

	if ((size_t)n >= sizeof(aside) || rename(path, aside) < 0)
		return err_set(
		    err, "%s: %s; cannot put it aside: %s", path, j->damage, strerror(errno));
	close(j->fd);
	j->fd = open_file(path, err);
	return j->fd < 0 ? -1 : 0;
}

struct journal *
journal_open(const char *path, const char *lock_id, uint32_t slots, struct err *err)
{
	struct journal *j = calloc(1, sizeof(*j));
	int result;

	if (j == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	read_boot_id(j->boot_id);
	j->fd = open_file(path, err);
	if (j->fd < 0)
		goto fail;
	result = read_header(j, lock_id, slots, err);
	if (result > 0 && put_aside(j, path, err) == 0)
		result = read_header(j, lock_id, slots, err);
	if (result != 0 || map_file(j, path, err) < 0)
		goto fail;
	j->busy = calloc(j->slots, sizeof(*j->busy));
	j->found = calloc(j->slots, sizeof(*j->found));
	if (j->busy == NULL || j->found == NULL) {
		(void)err_set(err, "no memory");
		goto fail;
	}
	read_slots(j);
	return j;
fail:
	journal_close(j);
	return NULL;
}

void
journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	if (j->map != NULL)
		(void)munmap(j->map, j->bytes);
	if (j->fd >= 0)
		close(j->fd);
	free(j->busy);
	free(j->found);
	free(j);
}

/* ---- what it tells ---- */

const char *
journal_was_damaged(const struct journal *j)
{
	return j->damage;
}

const struct journal_header *
journal_header(const struct journal *j)
{
	return &j->header;
}

enum journal_evidence
journal_evidence(const struct journal *j, int32_t life, uint64_t system_id)
{
	const struct journal_header *h = &j->header;

	if (h->life == 0 || life < h->first_life || life > h->life || h->system_id != system_id)
		return JOURNAL_SAYS_NOTHING;
	if (j->corrupt > 0 || j->boot_id[0] == '\0' || strcmp(h->boot_id, j->boot_id) != 0)
		return JOURNAL_SAYS_MARKS;
	return JOURNAL_SAYS_ALL;
}

void
journal_is_first(struct journal *j)
{
	if (j->header.life != 0)
		return;
	j->header.first_life = 1;
	journal_header_write(j->map, &j->header);
}

bool
journal_is_whole(const struct journal *j, uint64_t system_id)
{
	return j->header.life == 0 ||
	    journal_evidence(j, j->header.life, system_id) == JOURNAL_SAYS_ALL;
}

bool
journal_find(
    const struct journal *j, const struct journal_attempt *attempt, struct journal_mark *mark)
{
	size_t low = 0, high = j->found_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_attempts(&j->found[middle].attempt, attempt);

		if (order == 0) {
			*mark = j->found[middle];
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool
journal_each(const struct journal *j, size_t index, struct journal_mark *mark)
{
	if (index >= j->found_count)
		return false;
	*mark = j->found[index];
	return true;
}

/* ---- writing ---- */

/* What damaged slots may have stood for is settled as in doubt. */
static void
erase_damaged(struct journal *j)
{
	struct journal_mark mark;

	for (uint32_t i = 0; i < j->slots; i++)
		if (journal_slot_read(slot_at(j, i), &mark) == JOURNAL_CORRUPT)
			memset(slot_at(j, i), 0, JOURNAL_SLOT_BYTES);
	j->corrupt = 0;
}

void
journal_begin_life(struct journal *j, int32_t life, uint64_t system_id)
{
	struct journal_header *h = &j->header;

	/* what they held is settled; but PostgreSQL may lose that, and then a mark that is missing here
	 * proves nothing, though the last life be whole */
	if (!journal_is_whole(j, system_id))
		h->first_life = life;
	/* numbers of lives go back when PostgreSQL was restored: old marks would look like ours */
	if (h->life >= life || h->first_life == 0 || (h->life != 0 && h->system_id != system_id)) {
		h->first_life = life;
		h->first_generation = j->generation;
	}
	h->life = life;
	h->system_id = system_id;
	memcpy(h->boot_id, j->boot_id, sizeof(h->boot_id));
	h->claim_seq = 0;
	/* in this order: between them a kill leaves a count that is too high, and a person is asked; one that
	 * is too low would hide lost commits */
	journal_header_write(j->map, h);
	journal_claim_seq_write(j->map, 0);
	j->claim_seq = 0;
	if (j->corrupt > 0)
		erase_damaged(j);
	free(j->found);
	j->found = NULL;
	j->found_count = 0;
}

int
journal_sync(const struct journal *j, struct err *err)
{
	if (msync(j->map, JOURNAL_HEADER_BYTES, MS_SYNC) < 0)
		return err_set(err, "cannot write the journal to the disk: %s", strerror(errno));
	return 0;
}

int
journal_dot(struct journal *j, int slot, const struct journal_attempt *attempt)
{
	struct timespec now;

	if (slot < 0) {
		uint32_t looked = 0;

		while (j->busy[j->next]) {
			j->next = (j->next + 1) % j->slots;
			if (++looked == j->slots)
				return -1;
		}
		slot = (int)j->next;
		j->next = (j->next + 1) % j->slots;
		j->busy[slot] = true;
		j->busy_count++;
	}
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	journal_slot_dot(slot_at(j, (uint32_t)slot), attempt, ++j->generation, now.tv_sec);
	return slot;
}

void
journal_answer(struct journal *j, int slot, const struct journal_answer *answer)
{
	journal_slot_answer(slot_at(j, (uint32_t)slot), answer);
}

void
journal_settled(struct journal *j, int slot)
{
	j->busy_count -= j->busy[slot];
	j->busy[slot] = false;
}

struct journal_use
journal_use(const struct journal *j)
{
	return (struct journal_use){ j->slots, j->busy_count, j->generation };
}

void
journal_claimed(struct journal *j, uint64_t claim_seq)
{
	if (claim_seq <= j->claim_seq)
		return;
	j->claim_seq = claim_seq;
	journal_claim_seq_write(j->map, claim_seq);
}

uint64_t
journal_claim_seq(const struct journal *j)
{
	return j->claim_seq;
}
