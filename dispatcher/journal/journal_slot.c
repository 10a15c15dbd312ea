/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal_slot: see journal_slot.h. Only the compiler could reorder the stores against a kill:
 * what a killed thread had executed is a prefix of its program. Each word is therefore stored
 * with release order behind a fence, nothing more.
 */
#include "journal_slot.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "crash.h"

/* Words that damage does not turn into one another. */
#define WORD_WRITING UINT64_C(0x474e495449525721) /* "!WRITING" in a dump */
#define WORD_DOT UINT64_C(0x21544f442f4a4b21)
#define WORD_ANSWER UINT64_C(0x215257534e414b21)
#define MAGIC "KAIRANJ1"
#define COPY_BYTES 512
#define SEQ_OFFSET 2048

struct dot_half {
	uint64_t word;
	uint64_t generation;
	uint32_t sum; /* of what follows and the generation */
	int32_t owner, run, send, attempt;
	uint32_t at_s;
};

struct answer_half {
	uint64_t word;
	uint32_t sum; /* of what follows and the generation of the dot */
	uint16_t code;
	uint16_t enhanced[3];
	uint8_t kind, cls, len, unused;
	char text[JOURNAL_TEXT_MAX + 4];
};

struct slot {
	struct dot_half dot;
	struct answer_half answer;
};

struct header_copy {
	char magic[8];
	uint64_t serial;
	uint32_t sum; /* of everything but the magic and itself */
	uint32_t slot_bytes;
	uint32_t slots;
	int32_t first_life, life;
	uint32_t unused;
	uint64_t system_id;
	uint64_t first_generation;
	char lock_id[JOURNAL_LOCK_ID];
	char boot_id[JOURNAL_BOOT_ID + 4];
};

_Static_assert(sizeof(struct slot) == JOURNAL_SLOT_BYTES, "a slot has 128 bytes");
_Static_assert(offsetof(struct slot, answer) % 8 == 0, "words are stored whole");
_Static_assert(sizeof(struct header_copy) <= COPY_BYTES, "a header copy fits");

/* FNV-1a over 64 bits, folded: finds torn and damaged bytes, not forgers, who could write
 * anything here anyway. */
static uint32_t
sum_of(uint64_t seed, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed * UINT64_C(0x9e3779b97f4a7c15);

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		h = (h ^ v) * UINT64_C(0x100000001b3);
		h ^= h >> 29;
	}
	for (; len > 0; len--)
		h = (h ^ *p++) * UINT64_C(0x100000001b3);
	return (uint32_t)(h ^ h >> 32);
}

static uint32_t
dot_sum(const struct dot_half *d)
{
	return sum_of(d->generation, &d->owner, sizeof(*d) - offsetof(struct dot_half, owner));
}

static uint32_t
answer_sum(const struct answer_half *a, uint64_t generation)
{
	return sum_of(generation, &a->code, sizeof(*a) - offsetof(struct answer_half, code));
}

static void
store_word(uint64_t *word, uint64_t value)
{
	atomic_signal_fence(memory_order_seq_cst);
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	atomic_signal_fence(memory_order_seq_cst);
}

void
journal_slot_dot(
    void *bytes, const struct journal_attempt *attempt, uint64_t generation, int64_t at_s)
{
	struct slot *slot = bytes;

	store_word(&slot->dot.word, WORD_WRITING);
	CRASH_POINT("mark_begun");
	store_word(&slot->answer.word, 0);
	slot->dot.generation = generation;
	slot->dot.owner = attempt->owner;
	slot->dot.run = attempt->run;
	slot->dot.send = attempt->send;
	slot->dot.attempt = attempt->attempt;
	slot->dot.at_s = (uint32_t)at_s;
	slot->dot.sum = dot_sum(&slot->dot);
	CRASH_POINT("mark_almost");
	store_word(&slot->dot.word, WORD_DOT);
}

void
journal_slot_answer(void *bytes, const struct journal_answer *answer)
{
	struct slot *slot = bytes;
	struct answer_half *a = &slot->answer;
	size_t len = answer->text.len < JOURNAL_TEXT_MAX ? answer->text.len : JOURNAL_TEXT_MAX;

	store_word(&a->word, 0);
	a->code = (uint16_t)answer->code;
	memcpy(a->enhanced, answer->enhanced, sizeof(a->enhanced));
	a->kind = (uint8_t)answer->kind;
	a->cls = (uint8_t)answer->cls;
	a->len = (uint8_t)len;
	a->unused = 0;
	memset(a->text, 0, sizeof(a->text));
	if (len > 0)
		memcpy(a->text, answer->text.ptr, len);
	a->sum = answer_sum(a, slot->dot.generation);
	CRASH_POINT("answer_almost");
	store_word(&a->word, WORD_ANSWER);
}

static bool
answer_is_whole(const struct answer_half *a, uint64_t generation)
{
	return a->word == WORD_ANSWER && a->sum == answer_sum(a, generation) &&
	    a->len <= JOURNAL_TEXT_MAX && /* LCOV_EXCL_BR_LINE: a whole one was cut when written */
	    a->kind <= OUTCOME_RELEASED && a->kind != OUTCOME_IN_DOUBT && a->cls < OUTCOME_CLASSES;
}

enum journal_reading
journal_slot_read(const void *bytes, struct journal_mark *mark)
{
	struct slot slot;
	const char *text = (const char *)bytes + offsetof(struct slot, answer.text);

	memcpy(&slot, bytes, sizeof(slot));
	if (slot.dot.word == 0 || slot.dot.word == WORD_WRITING)
		return JOURNAL_NONE;
	if (slot.dot.word != WORD_DOT || slot.dot.sum != dot_sum(&slot.dot))
		return JOURNAL_CORRUPT;
	*mark = (struct journal_mark){ .attempt = { slot.dot.owner, slot.dot.run, slot.dot.send,
					   slot.dot.attempt },
		.generation = slot.dot.generation,
		.at_s = slot.dot.at_s,
		.answered = answer_is_whole(&slot.answer, slot.dot.generation) };
	if (mark->answered) {
		mark->answer = (struct journal_answer){ .kind = (enum outcome_kind)slot.answer.kind,
			.cls = (enum outcome_class)slot.answer.cls,
			.code = slot.answer.code,
			.text = slice_make(text, slot.answer.len) };
		memcpy(mark->answer.enhanced, slot.answer.enhanced, sizeof(slot.answer.enhanced));
	}
	return JOURNAL_MARK;
}

/* ---- header ---- */

static uint32_t
copy_sum(const struct header_copy *c)
{
	return sum_of(
	    c->serial, &c->slot_bytes, sizeof(*c) - offsetof(struct header_copy, slot_bytes));
}

static bool
copy_is_whole(const struct header_copy *c)
{
	return memcmp(c->magic, MAGIC, sizeof(c->magic)) == 0 && c->sum == copy_sum(c);
}

static bool
is_zero(const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static void
copy_out(const struct header_copy *c, struct journal_header *h)
{
	*h = (struct journal_header){ .serial = c->serial,
		.slots = c->slots,
		.system_id = c->system_id,
		.first_generation = c->first_generation,
		.first_life = c->first_life,
		.life = c->life };
	memcpy(h->lock_id, c->lock_id, JOURNAL_LOCK_ID);
	memcpy(h->boot_id, c->boot_id, JOURNAL_BOOT_ID);
}

int
journal_header_read(const void *bytes, uint64_t len, struct journal_header *header, struct err *err)
{
	const unsigned char *p = bytes;
	struct header_copy copies[2];
	const struct header_copy *best = NULL;
	uint64_t seq[2];

	if (len < JOURNAL_HEADER_BYTES)
		return err_set(err, "it is cut off");
	for (int i = 0; i < 2; i++) {
		memcpy(&copies[i], p + (size_t)i * COPY_BYTES, sizeof(copies[i]));
		if (copy_is_whole(&copies[i]) && (best == NULL || copies[i].serial > best->serial))
			best = &copies[i];
	}
	if (best == NULL) {
		if (is_zero(p, JOURNAL_HEADER_BYTES))
			return 1;
		return err_set(err, "it is no journal, or damaged");
	}
	if (best->slot_bytes != JOURNAL_SLOT_BYTES || /* LCOV_EXCL_BR_LINE: of a version to come */
	    best->slots == 0 || best->slots > JOURNAL_SLOTS_MAX)
		return err_set(err, "it was made by another version");
	if (len < journal_file_bytes(best->slots))
		return err_set(err, "it is cut off");
	memcpy(seq, p + SEQ_OFFSET, sizeof(seq));
	/* 0: killed in between, either number was acknowledged. Another one would hide lost commits. */
	if (seq[1] != ~seq[0] && seq[1] != 0)
		return err_set(err, "its count of claims is damaged");
	copy_out(best, header);
	header->claim_seq = seq[0];
	return 0;
}

void
journal_header_write(void *bytes, struct journal_header *header)
{
	struct header_copy copy = { .magic = MAGIC,
		.serial = ++header->serial,
		.slot_bytes = JOURNAL_SLOT_BYTES,
		.slots = header->slots,
		.first_life = header->first_life,
		.life = header->life,
		.system_id = header->system_id,
		.first_generation = header->first_generation };
	unsigned char *at = (unsigned char *)bytes + (header->serial % 2) * COPY_BYTES;

	memcpy(copy.lock_id, header->lock_id, JOURNAL_LOCK_ID);
	memcpy(copy.boot_id, header->boot_id, JOURNAL_BOOT_ID);
	copy.sum = copy_sum(&copy);
	memcpy(at, &copy, sizeof(copy));
	atomic_signal_fence(memory_order_seq_cst);
}

void
journal_claim_seq_write(void *bytes, uint64_t claim_seq)
{
	uint64_t *seq = (uint64_t *)(void *)((unsigned char *)bytes + SEQ_OFFSET);

	store_word(&seq[1], 0);
	store_word(&seq[0], claim_seq);
	store_word(&seq[1], ~claim_seq);
}
