/* SPDX-License-Identifier: Apache-2.0 */
/* journal and its slots: what a reader finds after a kill at any store, damage, locks, the ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal.h"

#define LOCK_ID "0123456789abcdef0123456789abcdef"
#define SYSTEM UINT64_C(7000000000000000001)

static char folder[] = "/tmp/kairan-journal.XXXXXX";
static char path[64];

static int
make_folder(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/j", folder);
	return 0;
}

static int
remove_folder(void **state)
{
	char command[100];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static struct journal *
open_or_fail(uint32_t slots)
{
	struct err err = { 0 };
	struct journal *j = journal_open(path, LOCK_ID, slots, &err);

	if (j == NULL)
		fail_msg("%s", err.msg);
	return j;
}

static const struct journal_attempt someone = { 7, 3, 99, 2 };

static struct journal_answer
accepted(void)
{
	return (struct journal_answer){ .kind = OUTCOME_SENT,
		.code = 250,
		.enhanced = { 2, 0, 0 },
		.text = SLICE("0100018f2a3b4c5d-11111111-2222-3333-4444-555555555555-000000") };
}

/* ---- slots ---- */

static void
a_slot_goes_from_nothing_to_doubt_to_answer(void **state)
{
	_Alignas(8) unsigned char slot[JOURNAL_SLOT_BYTES] = { 0 };
	struct journal_answer answer = accepted();
	struct journal_mark mark;

	(void)state;
	assert_int_equal(answer.text.len, 60);
	assert_int_equal(journal_slot_read(slot, &mark), JOURNAL_NONE);
	journal_slot_dot(slot, &someone, 41, 1700000000);
	assert_int_equal(journal_slot_read(slot, &mark), JOURNAL_MARK);
	assert_false(mark.answered);
	assert_memory_equal(&mark.attempt, &someone, sizeof(someone));
	assert_int_equal(mark.generation, 41);
	assert_int_equal(mark.at_s, 1700000000);
	journal_slot_answer(slot, &answer);
	assert_int_equal(journal_slot_read(slot, &mark), JOURNAL_MARK);
	assert_true(mark.answered);
	assert_int_equal(mark.answer.kind, OUTCOME_SENT);
	assert_int_equal(mark.answer.code, 250);
	assert_true(slice_equal(mark.answer.text, answer.text));
	journal_slot_dot(slot, &someone, 42, 1700000001);
	assert_int_equal(journal_slot_read(slot, &mark), JOURNAL_MARK);
	assert_false(mark.answered);
}

/* The compiler may keep stores in any order that the code allows; here every state between two
 * stores is made by hand, from the bytes before and after: the words last. */
static void
a_kill_between_two_stores_is_never_damage(void **state)
{
	_Alignas(8) unsigned char before[JOURNAL_SLOT_BYTES] = { 0 }, after[JOURNAL_SLOT_BYTES];
	_Alignas(8) unsigned char cut[JOURNAL_SLOT_BYTES];
	struct journal_attempt other = { 8, 4, 100, 1 };
	struct journal_answer answer = accepted();
	struct journal_mark mark;
	const uint64_t word = UINT64_C(0x474e495449525721); /* WRITING */

	(void)state;
	journal_slot_dot(before, &other, 5, 1);
	journal_slot_answer(before, &answer);
	memcpy(after, before, sizeof(after));
	journal_slot_dot(after, &someone, 6, 2);
	/* the dot: while it is written its word says so, whatever part of the rest is there */
	for (size_t n = 8; n <= JOURNAL_SLOT_BYTES; n++) {
		memcpy(cut, before, sizeof(cut));
		memcpy(cut + 8, after + 8, n - 8);
		memcpy(cut, &word, 8);
		assert_int_equal(journal_slot_read(cut, &mark), JOURNAL_NONE);
	}
	/* the answer: its word comes last */
	memcpy(before, after, sizeof(before));
	journal_slot_answer(after, &answer);
	for (size_t n = 48; n <= JOURNAL_SLOT_BYTES; n++) {
		memcpy(cut, before, sizeof(cut));
		memcpy(cut + 48, after + 48, n - 48);
		assert_int_equal(journal_slot_read(cut, &mark), JOURNAL_MARK);
		assert_false(mark.answered);
	}
	assert_int_equal(journal_slot_read(after, &mark), JOURNAL_MARK);
	assert_true(mark.answered);
}

static void
every_changed_byte_of_a_mark_is_noticed(void **state)
{
	_Alignas(8) unsigned char slot[JOURNAL_SLOT_BYTES] = { 0 }, bad[JOURNAL_SLOT_BYTES];
	struct journal_answer answer = accepted();
	struct journal_mark mark;

	(void)state;
	journal_slot_dot(slot, &someone, 41, 1700000000);
	journal_slot_answer(slot, &answer);
	for (size_t i = 0; i < JOURNAL_SLOT_BYTES; i++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, slot, sizeof(bad));
			bad[i] ^= (unsigned char)(1 << bit);
			if (i < 40) {
				assert_int_equal(journal_slot_read(bad, &mark), JOURNAL_CORRUPT);
			} else {
				assert_int_equal(journal_slot_read(bad, &mark), JOURNAL_MARK);
				assert_false(mark.answered);
				assert_memory_equal(&mark.attempt, &someone, sizeof(someone));
			}
		}
	}
}

/* What cannot be an answer is none: that row is in doubt. */
static void
an_answer_that_cannot_be_is_none(void **state)
{
	_Alignas(8) unsigned char slot[JOURNAL_SLOT_BYTES] = { 0 };
	struct journal_answer answers[] = { { .kind = OUTCOME_IN_DOUBT },
		{ .kind = (enum outcome_kind)200 },
		{ .kind = OUTCOME_FAILED, .cls = (enum outcome_class)200 } };
	char text[JOURNAL_TEXT_MAX + 20];
	struct journal_answer longest = { .kind = OUTCOME_SENT, .text = { text, sizeof(text) } };
	struct journal_mark mark;

	(void)state;
	journal_slot_dot(slot, &someone, 41, 1700000000);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		journal_slot_answer(slot, &answers[i]);
		assert_int_equal(journal_slot_read(slot, &mark), JOURNAL_MARK);
		assert_false(mark.answered);
	}
	memset(text, 't', sizeof(text));
	journal_slot_answer(slot, &longest);
	assert_int_equal(journal_slot_read(slot, &mark), JOURNAL_MARK);
	assert_true(mark.answered);
	assert_true(slice_equal(mark.answer.text, slice_make(text, JOURNAL_TEXT_MAX)));
}

/* ---- the file ---- */

static void
a_killed_process_leaves_its_marks(void **state)
{
	struct journal_attempt a = someone;
	struct journal_answer answer = accepted();
	struct journal_mark mark;
	struct journal *j;
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		j = open_or_fail(1024);
		journal_begin_life(j, 7, SYSTEM);
		for (int i = 0; i < 3000; i++) {
			int slot;

			a.send = i;
			slot = journal_dot(j, -1, &a);
			if (slot < 0)
				_exit(1);
			if (i == 2999)
				kill(getpid(), SIGKILL);
			journal_answer(j, slot, &answer);
			journal_settled(j, slot);
		}
		_exit(1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	j = open_or_fail(4096); /* the size of the file stays */
	assert_int_equal(journal_header(j)->slots, 1024);
	assert_int_equal(journal_header(j)->life, 7);
	assert_int_equal(journal_evidence(j, 7, SYSTEM), JOURNAL_SAYS_ALL);
	assert_int_equal(journal_evidence(j, 6, SYSTEM), JOURNAL_SAYS_NOTHING);
	assert_int_equal(journal_evidence(j, 8, SYSTEM), JOURNAL_SAYS_NOTHING);
	assert_int_equal(journal_evidence(j, 7, SYSTEM + 1), JOURNAL_SAYS_NOTHING);
	for (int i = 0; i < 3000; i++) {
		a.send = i;
		assert_int_equal(journal_find(j, &a, &mark), i >= 3000 - 1024);
		if (i >= 3000 - 1024)
			assert_int_equal(mark.answered, i != 2999);
	}
	journal_close(j);
}

static void
a_slot_is_not_used_again_before_its_record(void **state)
{
	struct journal_attempt a = someone;
	struct journal *j;
	int slot = -1;

	(void)state;
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(1024);
	journal_begin_life(j, 7, SYSTEM);
	for (int i = 0; i < 1024; i++) {
		a.send = i;
		slot = journal_dot(j, -1, &a);
		assert_int_equal(slot, i);
	}
	assert_int_equal(journal_dot(j, -1, &a), -1);
	journal_settled(j, 500);
	assert_int_equal(journal_dot(j, -1, &a), 500);
	assert_int_equal(journal_dot(j, -1, &a), -1);
	/* the same attempt once more, after its answer was RELEASED */
	assert_int_equal(journal_dot(j, 500, &a), 500);
	journal_close(j);
}

static void
the_newest_mark_of_an_attempt_counts(void **state)
{
	struct journal_answer released = { .kind = OUTCOME_RELEASED, .text = SLICE("network") };
	struct journal_mark mark;
	struct journal *j;
	int slot;

	(void)state;
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(1024);
	journal_begin_life(j, 7, SYSTEM);
	slot = journal_dot(j, -1, &someone);
	journal_answer(j, slot, &released);
	assert_int_not_equal(journal_dot(j, -1, &someone), slot);
	journal_claimed(j, 12);
	journal_close(j);
	j = open_or_fail(1024);
	assert_true(journal_find(j, &someone, &mark));
	assert_false(mark.answered);
	assert_int_equal(journal_header(j)->claim_seq, 12);
	assert_true(journal_each(j, 0, &mark));
	assert_false(journal_each(j, 1, &mark));
	/* another database, or one that went back in time: old marks are not ours */
	journal_begin_life(j, 7, SYSTEM);
	journal_close(j);
	j = open_or_fail(1024);
	assert_false(journal_find(j, &someone, &mark));
	assert_int_equal(journal_header(j)->claim_seq, 0);
	journal_close(j);
}

static void
write_at(off_t at, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, at), n);
	close(fd);
}

/* Attempts that differ in one of their numbers are different ones, wherever they lie. */
static void
every_attempt_is_found_by_itself(void **state)
{
	struct journal_mark mark;
	struct journal *j;

	(void)state;
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(1024);
	journal_begin_life(j, 7, SYSTEM);
	for (int i = 3 * 256 - 1; i >= 0; i--) { /* three times each */
		struct journal_attempt a = { 2 * (i & 3), 2 * (i >> 2 & 3), 2 * (i >> 4 & 3),
			2 * (i >> 6 & 3) };

		assert_true(journal_dot(j, -1, &a) >= 0);
	}
	journal_close(j);
	j = open_or_fail(1024);
	for (int i = 0; i < 7 * 7 * 7 * 7; i++) {
		struct journal_attempt a = { i % 7, i / 7 % 7, i / 49 % 7, i / 343 };
		bool there = (a.owner | a.run | a.send | a.attempt) % 2 == 0;

		assert_int_equal(journal_find(j, &a, &mark), there);
		if (there)
			assert_memory_equal(&mark.attempt, &a, sizeof(a));
	}
	journal_close(j);
}

/* Round the ring: the newest mark of an attempt lies before older ones of it. */
static void
the_newest_mark_counts_round_the_ring(void **state)
{
	struct journal_mark mark;
	struct journal *j;

	(void)state;
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(8);
	journal_begin_life(j, 7, SYSTEM);
	for (int i = 0; i < 11; i++)
		journal_settled(j, journal_dot(j, -1, &someone));
	journal_close(j);
	j = open_or_fail(8);
	assert_true(journal_find(j, &someone, &mark));
	assert_int_equal(mark.generation, 11);
	journal_close(j);
}

/* Claims are counted upwards alone; a count whose writing was cut is the one before or behind it, since its
 * complement is taken away first. A damaged one is none. */
static void
a_count_of_claims_is_whole_or_damage(void **state)
{
	static const struct {
		uint64_t seq[2];
		uint64_t read; /* 0: damage */
	} cases[] = { { { 12, 0 }, 12 }, { { 13, 0 }, 13 }, { { 13, ~UINT64_C(13) }, 13 },
		{ { 12, 12 }, 0 }, { { 13, ~UINT64_C(12) }, 0 } };
	struct journal *j;

	(void)state;
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(1024);
	journal_begin_life(j, 7, SYSTEM);
	journal_claimed(j, 12);
	journal_claimed(j, 11);
	assert_int_equal(journal_claim_seq(j), 12);
	assert_int_equal(journal_use(j).slots, 1024);
	journal_close(j);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(unlink(path), 0);
		j = open_or_fail(1024);
		journal_begin_life(j, 7, SYSTEM);
		journal_close(j);
		write_at(2048, cases[i].seq, sizeof(cases[i].seq));
		j = open_or_fail(1024);
		assert_int_equal(journal_header(j)->claim_seq, cases[i].read);
		assert_string_equal(journal_was_damaged(j),
		    cases[i].read > 0 ? "" : "its count of claims is damaged");
		assert_int_equal(journal_evidence(j, 7, SYSTEM),
		    cases[i].read > 0 ? JOURNAL_SAYS_ALL : JOURNAL_SAYS_NOTHING);
		journal_close(j);
	}
}

/* A file that is longer than its slots goes on as it is; sizes that no version makes do not. */
static void
only_sizes_that_can_be(void **state)
{
	static const uint32_t sizes[] = { 0, JOURNAL_SLOTS_MAX + 1 };
	unsigned char *bytes = calloc(1, journal_file_bytes(8));
	struct journal_header back;
	struct journal_mark mark;
	struct err err = { 0 };
	struct journal *j;

	(void)state;
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(8);
	journal_begin_life(j, 7, SYSTEM);
	assert_int_equal(journal_dot(j, -1, &someone), 0);
	journal_close(j);
	assert_int_equal(truncate(path, (off_t)journal_file_bytes(100)), 0);
	j = open_or_fail(8);
	assert_int_equal(journal_header(j)->slots, 8);
	assert_true(journal_find(j, &someone, &mark));
	journal_close(j);
	journal_close(NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct journal_header h = { .slots = sizes[i] };

		memset(bytes, 0, journal_file_bytes(8));
		journal_header_write(bytes, &h);
		assert_int_equal(
		    journal_header_read(bytes, journal_file_bytes(8), &back, &err), -1);
		assert_string_equal(err.msg, "it was made by another version");
	}
	free(bytes);
}

/* The number of a life went back, or the database is another one: what lies there is not ours. */
static void
lives_of_another_history_are_forgotten(void **state)
{
	static const struct {
		int32_t life;
		uint64_t system;
		bool kept;
	} cases[] = { { 9, SYSTEM, true }, { 8, SYSTEM, false }, { 7, SYSTEM, false },
		{ 9, SYSTEM + 1, false } };
	struct journal_mark mark;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct journal *j;

		assert_int_equal(unlink(path), 0);
		j = open_or_fail(64);
		journal_begin_life(j, 8, SYSTEM);
		assert_int_equal(journal_dot(j, -1, &someone), 0);
		journal_close(j);
		j = open_or_fail(64);
		journal_begin_life(j, cases[i].life, cases[i].system);
		journal_close(j);
		j = open_or_fail(64);
		assert_int_equal(journal_find(j, &someone, &mark), cases[i].kept);
		journal_close(j);
	}
}

/* A file that was made with its lock can tell of each life that the lock ever had, none of which wrote into
 * it; another new file of those alone that do. */
static void
the_first_file_of_a_lock_tells_of_all_its_lives(void **state)
{
	struct journal *j;

	(void)state;
	for (int first = 0; first < 2; first++) {
		assert_int_equal(unlink(path), 0);
		j = open_or_fail(64);
		assert_int_equal(journal_header(j)->first_life, 0);
		if (first)
			journal_is_first(j);
		journal_close(j); /* killed before its life began */
		j = open_or_fail(64);
		assert_string_equal(journal_was_damaged(j), "");
		assert_int_equal(journal_header(j)->first_life, first);
		assert_int_equal(journal_header(j)->life, 0);
		assert_int_equal(journal_evidence(j, 1, SYSTEM), JOURNAL_SAYS_NOTHING);
		journal_begin_life(j, 5, SYSTEM);
		journal_close(j);
		j = open_or_fail(64);
		assert_int_equal(journal_header(j)->first_life, first ? 1 : 5);
		assert_int_equal(journal_header(j)->life, 5);
		assert_int_equal(journal_evidence(j, 3, SYSTEM),
		    first ? JOURNAL_SAYS_ALL : JOURNAL_SAYS_NOTHING);
		assert_int_equal(journal_evidence(j, 6, SYSTEM), JOURNAL_SAYS_NOTHING);
		/* too late: somebody has written into it */
		journal_is_first(j);
		journal_close(j);
		j = open_or_fail(64);
		assert_int_equal(journal_header(j)->first_life, first ? 1 : 5);
		journal_close(j);
	}
}

static void
damage_is_told_and_kept(void **state)
{
	static const char junk[1024] = "junk";
	struct journal_mark mark;
	struct journal *j;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(1024);
	journal_begin_life(j, 7, SYSTEM);
	assert_int_equal(journal_dot(j, -1, &someone), 0);
	journal_close(j);
	/* one slot: marks stay true, their absence proves nothing */
	write_at(JOURNAL_HEADER_BYTES + 5 * JOURNAL_SLOT_BYTES, "x", 1);
	j = open_or_fail(1024);
	assert_int_equal(journal_evidence(j, 7, SYSTEM), JOURNAL_SAYS_MARKS);
	assert_true(journal_find(j, &someone, &mark));
	journal_begin_life(j, 8, SYSTEM);
	journal_close(j);
	j = open_or_fail(1024);
	assert_int_equal(journal_evidence(j, 8, SYSTEM), JOURNAL_SAYS_ALL);
	journal_close(j);
	/* another boot of the machine: the same */
	j = open_or_fail(1024);
	{
		struct journal_header h = *journal_header(j);
		unsigned char bytes[JOURNAL_HEADER_BYTES] = { 0 };
		off_t copy;

		journal_close(j);
		memset(h.boot_id, 'x', JOURNAL_BOOT_ID);
		journal_header_write(bytes, &h);
		copy = h.serial % 2 == 0 ? 0 : 512;
		write_at(copy, bytes + copy, 512);
	}
	j = open_or_fail(1024);
	assert_int_equal(journal_evidence(j, 8, SYSTEM), JOURNAL_SAYS_MARKS);
	/* the next life is whole, but does not speak for those before */
	journal_begin_life(j, 9, SYSTEM);
	assert_int_equal(journal_sync(j, &err), 0);
	journal_close(j);
	j = open_or_fail(1024);
	assert_true(journal_is_whole(j, SYSTEM));
	assert_int_equal(journal_evidence(j, 9, SYSTEM), JOURNAL_SAYS_ALL);
	assert_int_equal(journal_evidence(j, 8, SYSTEM), JOURNAL_SAYS_NOTHING);
	assert_int_equal(journal_header(j)->first_life, 9);
	journal_close(j);
	/* both headers: put aside */
	write_at(0, junk, sizeof(junk));
	j = open_or_fail(1024);
	assert_string_not_equal(journal_was_damaged(j), "");
	assert_int_equal(journal_header(j)->life, 0);
	assert_int_equal(journal_evidence(j, 8, SYSTEM), JOURNAL_SAYS_NOTHING);
	journal_begin_life(j, 9, SYSTEM);
	journal_close(j);
	/* cut off, and of another lock */
	assert_int_equal(truncate(path, JOURNAL_HEADER_BYTES + 64), 0);
	j = open_or_fail(1024);
	assert_string_equal(journal_was_damaged(j), "it is cut off");
	journal_begin_life(j, 9, SYSTEM);
	journal_close(j);
	j = journal_open(path, "ffffffffffffffffffffffffffffffff", 1024, &err);
	assert_non_null(j);
	assert_string_equal(journal_was_damaged(j), "it belongs to another lock file");
	journal_close(j);
}

/* There is no room for a longer name: it stays where it is. */
static void
a_damaged_file_without_another_name_stays(void **state)
{
	char longest[4090] = "";
	struct err err = { 0 };
	struct journal *j;

	(void)state;
	(void)unlink(path);
	journal_close(open_or_fail(64));
	write_at(0, "junk", 4);
	(void)strcpy(longest, folder);
	while (strlen(longest) < 4084)
		(void)strcat(longest, "/.");
	(void)strcat(longest, "/j");
	assert_null(journal_open(longest, LOCK_ID, 64, &err));
	assert_true(err.msg[0] != '\0');
	j = open_or_fail(64);
	assert_string_not_equal(journal_was_damaged(j), "");
	journal_close(j);
}

/* A header copy that is cut anywhere leaves the other one. */
static void
a_header_cut_anywhere_leaves_the_one_before(void **state)
{
	unsigned char *bytes = calloc(1, journal_file_bytes(1024)), *cut;
	struct journal_header h = { .slots = 1024, .first_life = 1, .life = 1 }, back;
	struct err err = { 0 };

	(void)state;
	cut = calloc(1, journal_file_bytes(1024));
	assert_int_equal(journal_header_read(bytes, journal_file_bytes(1024), &back, &err), 1);
	memset(h.lock_id, 'a', JOURNAL_LOCK_ID);
	memset(h.boot_id, 'b', JOURNAL_BOOT_ID);
	journal_header_write(bytes, &h);
	memcpy(cut, bytes, JOURNAL_HEADER_BYTES);
	h.life = 2;
	journal_header_write(bytes, &h);
	for (size_t n = 0; n < 512; n++) {
		memcpy(cut, bytes, n); /* the second copy of three is the first in the file */
		assert_int_equal(
		    journal_header_read(cut, journal_file_bytes(1024), &back, &err), 0);
		assert_true(back.life == 1 || back.life == 2);
	}
	free(bytes);
	free(cut);
}

static void
only_a_plain_file_of_our_own(void **state)
{
	struct err err = { 0 };
	struct journal *j;
	char other[80];

	(void)state;
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(1024);
	assert_null(journal_open(path, LOCK_ID, 1024, &err));
	assert_non_null(strstr(err.msg, "another process holds"));
	journal_close(j);
	assert_int_equal(chmod(path, 0640), 0);
	assert_null(journal_open(path, LOCK_ID, 1024, &err));
	assert_non_null(strstr(err.msg, "mode 600"));
	assert_int_equal(chmod(path, 0600), 0);
	(void)snprintf(other, sizeof(other), "%s/other", folder);
	assert_int_equal(link(path, other), 0);
	assert_null(journal_open(path, LOCK_ID, 1024, &err));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(other, path), 0);
	assert_null(journal_open(path, LOCK_ID, 1024, &err));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(journal_open(path, LOCK_ID, 1024, &err));
	assert_int_equal(unlink(path), 0);
	j = open_or_fail(1024);
	journal_close(j);
	if (geteuid() != 0) {
		print_message("# wrong owner: needs root, not tried\n");
		return;
	}
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_null(journal_open(path, LOCK_ID, 1024, &err));
	assert_non_null(strstr(err.msg, "must belong"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_goes_from_nothing_to_doubt_to_answer),
		cmocka_unit_test(a_kill_between_two_stores_is_never_damage),
		cmocka_unit_test(every_changed_byte_of_a_mark_is_noticed),
		cmocka_unit_test(an_answer_that_cannot_be_is_none),
		cmocka_unit_test(a_killed_process_leaves_its_marks),
		cmocka_unit_test(a_slot_is_not_used_again_before_its_record),
		cmocka_unit_test(the_newest_mark_of_an_attempt_counts),
		cmocka_unit_test(every_attempt_is_found_by_itself),
		cmocka_unit_test(the_newest_mark_counts_round_the_ring),
		cmocka_unit_test(a_count_of_claims_is_whole_or_damage),
		cmocka_unit_test(only_sizes_that_can_be),
		cmocka_unit_test(lives_of_another_history_are_forgotten),
		cmocka_unit_test(the_first_file_of_a_lock_tells_of_all_its_lives),
		cmocka_unit_test(damage_is_told_and_kept),
		cmocka_unit_test(a_damaged_file_without_another_name_stays),
		cmocka_unit_test(a_header_cut_anywhere_leaves_the_one_before),
		cmocka_unit_test(only_a_plain_file_of_our_own),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("journal", tests, make_folder, remove_folder);
}
