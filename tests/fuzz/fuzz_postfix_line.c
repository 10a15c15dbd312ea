/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of Postfix's log, of IMAP and POP3, and mbox files: slices stay within their input. */
#include <stdint.h>
#include <stdlib.h>

#include "imap.h"
#include "mbox.h"
#include "postfix_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
within(struct slice s, struct slice all)
{
	if (s.len > 0 && (s.ptr < all.ptr || s.ptr + s.len > all.ptr + all.len))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = slice_make((const char *)data, size), rest = all, mail, id;
	struct postfix_line p;
	uint32_t uids[8], number;
	size_t literal;

	if (postfix_line_parse(&p, all)) {
		within(p.queue_id, all);
		within(p.address, all);
		within(p.message_id, all);
		within(p.relay, all);
		within(p.text, all);
		if (p.queue_id.len == 0 || p.queue_id.len > POSTFIX_QUEUE_ID_MAX ||
		    (p.kind == POSTFIX_STATUS) != (p.status != POSTFIX_STATUS_NONE))
			abort();
		(void)postfix_line_time(p.time, 1798761600);
	}
	(void)postfix_line_time(all, 1798761600);
	while (mbox_next(&rest, &mail))
		within(mail, all);
	if (imap_search(all, uids, 8) > 8 ||
	    (imap_literal(all, &literal) && literal > IMAP_LITERAL_MAX + 1))
		abort();
	(void)imap_answer(all, SLICE("k1"));
	(void)imap_uidvalidity(all);
	(void)imap_has_capability(all, SLICE("UIDPLUS"));
	(void)imap_is_fetch(all);
	if (pop3_uidl(all, &number, &id))
		within(id, all);
	return 0;
}
