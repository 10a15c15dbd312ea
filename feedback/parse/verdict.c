/* SPDX-License-Identifier: Apache-2.0 */
/* verdict: see verdict.h. Owns nothing. */
#include "verdict.h"

#include <string.h>

#include "codes.h"
#include "marks.h"
#include "words.h"

#define PHASE_TEXT_MAX 1024
#define HOST_FRONT_MAX 400 /* bytes in which a reporter names the host */

/* The command that was refused, where the text says so. */
static enum outcome_phase
phase_of(struct slice text)
{
	char bytes[PHASE_TEXT_MAX];
	struct phrases_found found;

	marks_find(words_normalise(slice_cut(text, sizeof(bytes)), bytes, false), &found);
	if (phrases_has(&found, MARK_AT_MAIL))
		return OUTCOME_PHASE_MAIL;
	if (phrases_has(&found, MARK_AT_DATA))
		return OUTCOME_PHASE_DOT;
	if (phrases_has(&found, MARK_AT_SESSION))
		return OUTCOME_PHASE_GREETING;
	return OUTCOME_PHASE_NONE;
}

/* "host mx.one.test[192.0.2.1] said: 550 …", "Remote host said: 451 … Remote host said: 550 …": what
 * the reporter says of the host, and what was said before, is no word of the reply. Text without
 * such a front is returned whole. */
static struct slice
reply_of(struct slice text)
{
	struct slice front = slice_cut(text, HOST_FRONT_MAX);
	struct codes codes;
	const char *end;

	if (text.len == 0 || (text.ptr[0] >= '2' && text.ptr[0] <= '5'))
		return text;
	while (front.len > 0 && (end = memchr(front.ptr, ']', front.len)) != NULL) {
		struct slice behind =
		    slice_trim(slice_make(end + 1, (size_t)(text.ptr + text.len - end) - 1));

		if (slice_starts_nocase(behind, SLICE("said:")))
			return slice_trim(slice_make(behind.ptr + 5, behind.len - 5));
		if (slice_starts_nocase(behind, SLICE("refused to talk to me:")))
			return slice_trim(slice_make(behind.ptr + 22, behind.len - 22));
		front = slice_make(end + 1, (size_t)(front.ptr + front.len - end) - 1);
	}
	codes = codes_find(text);
	return codes.is_quoted ? slice_make(text.ptr + codes.at, text.len - codes.at) : text;
}

/* The reply with the two lines before it, in which programs say what they did: "Connected to HOST
 * but sender was rejected." */
static struct slice
scene_of(struct slice text, struct slice reply)
{
	const char *at = reply.ptr;

	if (text.len == 0)
		return text;
	for (int i = 0; i < 2 && at > text.ptr; i++) {
		const char *end = memrchr(text.ptr, '\n', (size_t)(at - text.ptr));

		at = end != NULL ? end : text.ptr;
	}
	return slice_make(at, (size_t)(text.ptr + text.len - at));
}

/* Amazon SES sent nothing, for its own list or that of our account, and says so in a mail as well (SES
 * Developer Guide, suppression lists): the reason is the one that its events have. */
static bool
is_suppressed(struct slice text, struct classify_verdict *verdict)
{
	static const struct {
		const char *words, *reason;
	} lists[] = {
		{ "on the suppression list for your account", "on_account_suppression_list" },
		{ "amazon ses has suppressed sending to this address",
		    "on_global_suppression_list" },
	};
	char bytes[PHASE_TEXT_MAX];

	text = words_normalise(slice_cut(text, sizeof(bytes)), bytes, true);
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (words_match(text, lists[i].words)) {
			*verdict = (struct classify_verdict){ OUTCOME_HARD, OUTCOME_SCOPE_RECIPIENT,
				lists[i].reason, "SES: nothing was sent", true };
			return true;
		}
	return false;
}

struct classify_verdict
verdict_of_words(int code, const uint16_t enhanced[3], struct slice text)
{
	struct slice reply = reply_of(text);
	struct classify_input in = { phase_of(scene_of(text, reply)), code,
		{ enhanced[0], enhanced[1], enhanced[2] }, reply };
	struct classify_verdict verdict;

	return is_suppressed(reply, &verdict) ? verdict : classify(&in);
}

struct classify_verdict
verdict_read(int code, const uint16_t enhanced[3], struct slice text)
{
	static const uint16_t none[3];
	struct classify_verdict verdict = verdict_of_words(code, enhanced, text), other;

	if (verdict.cls != OUTCOME_HARD || verdict.by_words || code == 0 ||
	    codes_find(text).enhanced[0] != 0)
		return verdict;
	other = verdict_of_words(code, none, text);
	return other.by_words ? other : verdict;
}

void
verdict_judge(struct feedback_event *event)
{
	struct classify_verdict verdict = verdict_read(event->code, event->enhanced, event->text);
	int digit = event->enhanced[0] != 0 ? event->enhanced[0] : event->code / 100;

	event->cls = verdict.cls;
	event->reason = verdict.reason;
	if (event->cls == OUTCOME_CLASS_NONE || (event->cls == OUTCOME_HARD && digit != 5))
		event->cls = OUTCOME_SOFT;
}
