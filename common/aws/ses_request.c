/* SPDX-License-Identifier: Apache-2.0 */
/* ses_request: see ses_request.h. JSON is written straight into the buffer: a message is most of
 * a request and should be copied once. */
#include "ses_request.h"

#include <time.h>

#include "base64.h"
#include "sigv4.h"

/* RFC 8259 7: quotes, backslash and control characters are escaped; the rest is UTF-8 already. */
void
ses_put_text(struct buf *out, struct slice s)
{
	size_t from = 0;

	buf_append_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_append(out, s.ptr + from, i - from);
		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else
			buf_printf(out, "\\u%04x", c);
		from = i + 1;
	}
	if (s.len > from)
		buf_append(out, s.ptr + from, s.len - from);
	buf_append_char(out, '"');
}

static void
put_name(struct buf *out, const char *name)
{
	buf_append_str(out, ",\"");
	buf_append_str(out, name);
	buf_append_str(out, "\":");
}

static void
member(struct buf *out, const char *name, struct slice value)
{
	if (value.len == 0)
		return;
	put_name(out, name);
	ses_put_text(out, value);
}

static void
pairs(struct buf *out, const char *name, const struct ses_tag *tags, size_t count)
{
	if (count == 0)
		return;
	put_name(out, name);
	buf_append_char(out, '[');
	for (size_t i = 0; i < count; i++) {
		buf_append_str(out, i > 0 ? ",{\"Name\":" : "{\"Name\":");
		ses_put_text(out, tags[i].name);
		buf_append_str(out, ",\"Value\":");
		ses_put_text(out, tags[i].value);
		buf_append_char(out, '}');
	}
	buf_append_char(out, ']');
}

static void
common_members(struct buf *out, const struct ses_common *common)
{
	member(out, "FromEmailAddress", common->from);
	member(out, "FromEmailAddressIdentityArn", common->identity_arn);
	member(out, "FeedbackForwardingEmailAddress", common->feedback_address);
	member(out, "ConfigurationSetName", common->configuration_set);
	member(out, "TenantName", common->tenant);
}

static void
destination(struct buf *out, struct slice to)
{
	buf_append_str(out, "\"Destination\":{\"ToAddresses\":[");
	ses_put_text(out, to);
	buf_append_str(out, "]}");
}

static void
reply_to_member(struct buf *out, struct slice reply_to)
{
	if (reply_to.len == 0)
		return;
	buf_append_str(out, ",\"ReplyToAddresses\":[");
	ses_put_text(out, reply_to);
	buf_append_char(out, ']');
}

static void
put_base64(struct buf *out, struct slice bytes)
{
	if (bytes.len > SES_MESSAGE_MAX || !buf_reserve(out, BASE64_SIZE(bytes.len))) {
		out->failed = true;
		return;
	}
	(void)base64_put(out->data + out->len, bytes.ptr, bytes.len);
	buf_commit(out, BASE64_SIZE(bytes.len));
}

void
ses_send_raw(
    struct buf *out, const struct ses_common *common, struct slice to, struct slice message)
{
	buf_append_str(out, "{\"Content\":{\"Raw\":{\"Data\":\"");
	put_base64(out, message);
	buf_append_str(out, "\"}},");
	destination(out, to);
	common_members(out, common);
	pairs(out, "EmailTags", common->tags, common->tag_count);
	buf_append_char(out, '}');
}

static void
charset_text(struct buf *out, const char *lead, const char *name, struct slice s)
{
	buf_printf(out, "%s\"%s\":{\"Data\":", lead, name);
	ses_put_text(out, s);
	buf_append_str(out, ",\"Charset\":\"UTF-8\"}");
}

void
ses_send_simple(struct buf *out, const struct ses_common *common, const struct ses_simple *simple)
{
	buf_append_str(out, "{\"Content\":{\"Simple\":{");
	charset_text(out, "", "Subject", simple->subject);
	buf_append_str(out, ",\"Body\":{");
	if (simple->text.len > 0)
		charset_text(out, "", "Text", simple->text);
	if (simple->html.len > 0)
		charset_text(out, simple->text.len > 0 ? "," : "", "Html", simple->html);
	buf_append_char(out, '}');
	pairs(out, "Headers", simple->headers, simple->header_count);
	buf_append_str(out, "}},");
	destination(out, simple->to);
	reply_to_member(out, simple->reply_to);
	common_members(out, common);
	pairs(out, "EmailTags", common->tags, common->tag_count);
	buf_append_char(out, '}');
}

void
ses_bulk_begin(
    struct buf *out, const struct ses_common *common, struct slice reply_to, struct slice content)
{
	buf_append_str(out, "{\"DefaultContent\":{\"Template\":{\"TemplateContent\":");
	buf_append_slice(out, content);
	buf_append_str(out, ",\"TemplateData\":\"{}\"}}");
	reply_to_member(out, reply_to);
	common_members(out, common);
	pairs(out, "DefaultEmailTags", common->tags, common->tag_count);
	put_name(out, "BulkEmailEntries");
	buf_append_char(out, '[');
}

void
ses_bulk_entry(struct buf *out, const struct ses_bulk_entry *entry, bool is_first)
{
	buf_append_str(out, is_first ? "{" : ",{");
	destination(out, entry->to);
	buf_append_str(out,
	    ",\"ReplacementEmailContent\":{\"ReplacementTemplate\":{"
	    "\"ReplacementTemplateData\":");
	ses_put_text(out, entry->template_data);
	buf_append_str(out, "}}");
	pairs(out, "ReplacementHeaders", entry->headers, entry->header_count);
	pairs(out, "ReplacementTags", entry->tags, entry->tag_count);
	buf_append_char(out, '}');
}

void
ses_bulk_end(struct buf *out)
{
	buf_append_str(out, "]}");
}

void
ses_suppression_put(struct buf *out, struct slice address, const char *reason)
{
	buf_append_str(out, "{\"EmailAddress\":");
	ses_put_text(out, address);
	member(out, "Reason", slice_str(reason));
	buf_append_char(out, '}');
}

void
ses_suppression_path(struct buf *out, struct slice address)
{
	buf_append_str(out, SES_SUPPRESSION_PATH "/");
	sigv4_encode(out, address, false);
}

void
ses_suppression_query(struct buf *out, int64_t since_s, struct slice next, unsigned page)
{
	time_t at = (time_t)since_s;
	struct tm tm;
	char since[32];

	if (next.len > 0) {
		buf_append_str(out, "NextToken=");
		sigv4_encode(out, next, false);
		buf_append_char(out, '&');
	}
	buf_printf(out, "PageSize=%u", page);
	if (since_s > 0 && gmtime_r(&at, &tm) != NULL &&
	    strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0) {
		buf_append_str(out, "&StartDate=");
		sigv4_encode(out, slice_str(since), false);
	}
}
