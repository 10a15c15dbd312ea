/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message: one whole mail, from templates and a recipient to the bytes on the wire. A plan is
 * compiled once per run and never changes afterwards, so many recipients (and threads) may be
 * rendered from it; everything that does not depend on the recipient is encoded beforehand.
 *
 * What comes out: RFC 5322 header and MIME body, 7-bit but for an address in To that is not ASCII
 * (RFC 6532), CRLF at every line end and at the end of the message, no line above 998 (76 in bodies), no line that begins with "." and therefore
 * nothing to stuff. Fields (in this order): X-Kairan-Id, X-SES-MESSAGE-TAGS,
 * Date, From, Sender, To, Reply-To, Subject, Message-ID, List-Unsubscribe, X-Kairan-Campaign, List-Unsubscribe-Post, List-Id,
 * Feedback-ID, Auto-Submitted, the extra ones, MIME-Version, Content-Type.
 *
 * With html and text: multipart/alternative, text first. With html alone the text part is made
 * from it. With text alone: text/plain. Images that the html names by cid: stand with it in a
 * multipart/related, attachments around all in a multipart/mixed:
 *
 *	mixed( alternative( text, related( html, images ) ), attachments )
 *
 * Text is UTF-8, in the shorter of quoted-printable and base64. Recipients at a domain that asks
 * for ISO-2022-JP get the whole message, header and body, in that when every character has its
 * place there (jis.h), else the whole message in UTF-8.
 *
 * Templates may use these names besides the customer's fields: unsubscribe_url (the link, or a
 * mailto: when there is only that; not present when there is neither), view_url (the page that
 * shows the mail in a browser; not present without web_base), campaign, and
 * amazonSESUnsubscribeUrl, which is unsubscribe_url as templates of Amazon SES call it.
 *
 * With opens or clicks the html is rewritten once (links.h); the text, also one made from the
 * html, keeps its links.
 */
#ifndef KAIRAN_MESSAGE_H
#define KAIRAN_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "arena.h"
#include "attach.h"
#include "buf.h"
#include "err.h"
#include "links.h"
#include "slice.h"
#include "template.h"
#include "template_slots.h"

#define MESSAGE_HEADERS_MAX 50 /* extra header fields */
#define MESSAGE_TOKEN_MAX 128  /* a token string in bytes */
#define MESSAGE_URL_MAX 700    /* unsubscribe_url_base, web_base in bytes */
/* The ceiling for an output buffer that takes every message: two parts of
 * TEMPLATE_OUTPUT_MAX, encoded, and room to encode in. */
#define MESSAGE_BUFFER_MAX ((size_t)64 << 20)

/* The names that the program fills, by index. */
enum {
	MESSAGE_UNSUBSCRIBE_URL,
	MESSAGE_CAMPAIGN,
	MESSAGE_SES_UNSUBSCRIBE_URL,
	MESSAGE_VIEW_URL,
	MESSAGE_TRACK_TOKEN, /* links.h writes it */
	MESSAGE_BUILTINS
};

extern const struct slice message_builtins[MESSAGE_BUILTINS];

/* Is the field of a template_ref one of the two that are the link to unsubscribe? */
bool message_is_unsubscribe(uint32_t field);

struct message_header {
	struct slice name;
	struct slice value; /* UTF-8, one line */
};

/* Borrowed during message_compile only. Slices may be empty unless said otherwise. */
struct message_source {
	struct slice from_name;
	struct slice from_addr; /* needed */
	struct slice sender_name;
	struct slice sender_addr; /* Sender, when it is not the one in From */
	struct slice reply_to_name;
	struct slice reply_to; /* an address */
	struct slice subject;  /* template; blanks around it are dropped */
	struct slice html;     /* template; html or text is needed */
	struct slice text;     /* template */
	struct slice list_name;
	struct slice list_id;			/* without brackets: news.example.jp */
	struct slice unsubscribe_url_base;	/* https: (or http:, then without one-click) */
	struct slice unsubscribe_mailto_domain; /* of u+TOKEN@ */
	struct slice message_id_domain;		/* needed */
	struct slice feedback_id;
	bool ses_tags; /* X-SES-MESSAGE-TAGS: kairan=TOKEN, which Amazon SES takes out again */
	bool auto_submitted;   /* Auto-Submitted: auto-generated (RFC 3834) */
	struct slice web_base; /* http: or https:; in front of v/TOKEN, o/TOKEN, k/TOKEN/ID */
	bool track_opens, track_clicks; /* need web_base */
	bool files_by_link;	/* the html shows its files from web_base instead of by cid: */
	bool keep_ses_no_track; /* the attribute is for Amazon SES to read */
	int zone_minutes;	/* of Date, east of UTC */
	const struct message_header *headers;
	size_t header_count;
	const struct attach *files; /* the html names those with a content_id */
	size_t file_count;
	const struct slice *jis_domains; /* lower-case A-labels that get ISO-2022-JP */
	size_t jis_domain_count;
	bool slots; /* message_render_pieces gives slots */
};

/* Slices are borrowed during message_render. */
struct message_recipient {
	struct slice to_addr;		     /* as addr_parse gave it */
	struct slice to_name;		     /* may be empty */
	const struct template_value *values; /* by message_fields index */
	size_t value_count;
	bool blank_missing;		/* a missing field shows nothing instead of failing */
	struct slice message_id_left;	/* tokens: letters, digits, ".", "_", "-", "+", "=" */
	struct slice id_token;		/* X-Kairan-Id */
	struct slice unsubscribe_token; /* may be empty when nothing to unsubscribe is set */
	struct slice view_token;	/* may be empty when the templates have no view_url */
	struct slice track_token;	/* may be empty when nothing is tracked */
	time_t date;
	uint64_t run;
	struct slice campaign; /* its name */
};

struct message_result {
	enum template_status status;
	struct slice field; /* at fault: a template field (of the plan), or a static name such as
				"to_addr" */
	unsigned cleaned;   /* runs of control characters replaced in header values */
	size_t body_offset; /* from the start of the message to its body */
	bool is_jis;	    /* in ISO-2022-JP */
	bool jis_failed;    /* the domain asks for it, but a character has no place there */
};

/* A message in pieces, for a service that puts it together itself. */
enum message_piece { MESSAGE_SUBJECT, MESSAGE_TEXT, MESSAGE_HTML, MESSAGE_PIECES };

struct message_pieces {
	struct slice head; /* fields up to MIME-Version, folded; with Date, Message-ID, Subject */
	/* UTF-8; of a plan with slots the values of the piece's slots, a NUL behind each. An absent
	 * piece is empty. */
	struct slice piece[MESSAGE_PIECES];
};

struct message_plan;

/* "campaign:list:stream:sender", as Gmail's feedback loop reads Feedback-ID, in the arena; empty
 * when sender is or without memory. */
struct slice message_feedback_id(struct arena *arena, const char *campaign, const char *list,
    const char *stream, const char *sender);

/*
 * The plan lives in the arena, which is all it needs. err names the part: "html: line 3,
 * column 14: ...". 0, or -1 with err. *plan is NULL on failure.
 */
int message_compile(const struct message_source *source, struct arena *arena,
    struct message_plan **plan, struct err *err) MUST_CHECK;

/* The customer fields that the templates use, in index order; unsubscribe_url and campaign
 * are not among them. Borrowed from the plan. */
const struct slice *message_fields(const struct message_plan *plan, size_t *count);

/* True when the value of this field is to be given as JSON text, as a list or object is read. */
bool message_field_is_json(const struct message_plan *plan, size_t index);

/* {{{name}}} tags in html: values that go out as HTML. */
unsigned message_raw_fields(const struct message_plan *plan);

/* The template of the text part, given or made from the html. Borrowed from the plan; empty
 * when there is no body text. */
struct slice message_text_source(const struct message_plan *plan);

/* The template of the html as it is sent, with its links rewritten; empty when there is none.
 * Borrowed from the plan. */
struct slice message_html_source(const struct message_plan *plan);

/* The links that lead over us, each once. Borrowed from the plan. */
const struct links *message_links(const struct message_plan *plan);

/* Do the templates use the built-in name with this index? */
bool message_uses(const struct message_plan *plan, unsigned builtin);

/* Appends what a recipient sees of the mail in a browser: the html, else the text. *is_html says
 * which. Otherwise as message_render; addresses and other tokens of the recipient may be empty. */
enum template_status message_render_view(const struct message_plan *plan,
    const struct message_recipient *recipient, struct buf *out, bool *is_html,
    struct message_result *result);

/* What cannot be said in pieces: files, and recipients who get ISO-2022-JP. */
bool message_has_files(const struct message_plan *plan);
bool message_has_jis(const struct message_plan *plan);

/* The slots of a piece of a plan that was compiled with them; NULL when there is no such piece.
 * Borrowed from the plan. */
const struct template_slots *message_slots(
    const struct message_plan *plan, enum message_piece piece);

/* Appends the pieces to out; their slices are borrowed from it until its next change. Always in
 * UTF-8. Otherwise as message_render. */
enum template_status message_render_pieces(const struct message_plan *plan,
    const struct message_recipient *recipient, struct buf *out, struct message_pieces *pieces,
    struct message_result *result);

/*
 * Appends one message to out and returns result->status. On failure out has its length from
 * before. MISSING_FIELD, BAD_DATA and TOO_LARGE are about this recipient alone; a full buffer
 * or no memory is TOO_LARGE without a field.
 */
enum template_status message_render(const struct message_plan *plan,
    const struct message_recipient *recipient, struct buf *out, struct message_result *result);

#endif
