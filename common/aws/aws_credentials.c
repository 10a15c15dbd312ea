/* SPDX-License-Identifier: Apache-2.0 */
/* aws_credentials: see aws_credentials.h. */
#include "aws_credentials.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

void
aws_credentials_wipe(struct aws_credentials *c)
{
	OPENSSL_cleanse(c, sizeof(*c));
}

static bool
is_key_text(struct slice s, size_t max)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || (unsigned char)s.ptr[i] >= 0x7f)
			return false;
	return s.len <= max;
}

static void
put(char *dst, struct slice s)
{
	if (s.len > 0)
		memcpy(dst, s.ptr, s.len);
	dst[s.len] = '\0';
}

int
aws_credentials_set(struct aws_credentials *c, struct slice access_key, struct slice secret_key,
    struct slice session_token, struct err *err)
{
	if (access_key.len == 0 || secret_key.len == 0)
		return err_set(err, "the access key id or the secret access key is missing");
	if (!is_key_text(access_key, AWS_KEY_MAX) || !is_key_text(secret_key, AWS_SECRET_MAX) ||
	    !is_key_text(session_token, AWS_TOKEN_MAX))
		return err_set(err,
		    "an access key, secret or token is too long or has characters "
		    "that none has");
	put(c->access_key, access_key);
	put(c->secret_key, secret_key);
	put(c->session_token, session_token);
	c->expires_s = 0;
	return 0;
}

int64_t
aws_time_parse(struct slice s)
{
	struct tm tm = { 0 };

	if (!slice_take_digits(&s, 4, &tm.tm_year) || !slice_take_char(&s, "-") ||
	    !slice_take_digits(&s, 2, &tm.tm_mon) || !slice_take_char(&s, "-") ||
	    !slice_take_digits(&s, 2, &tm.tm_mday) || !slice_take_char(&s, "T") ||
	    !slice_take_digits(&s, 2, &tm.tm_hour) || !slice_take_char(&s, ":") ||
	    !slice_take_digits(&s, 2, &tm.tm_min) || !slice_take_char(&s, ":") ||
	    !slice_take_digits(&s, 2, &tm.tm_sec))
		return -1;
	if (slice_take_char(&s, "."))
		while (slice_take_char(&s, "0123456789"))
			continue;
	if (!slice_equal(s, SLICE("Z")) || tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 ||
	    tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 60)
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)timegm(&tm);
}

/* ---- the shared files ---- */

struct profile_key {
	const char *name;
	size_t offset, room;
};
#define KEY(name, member)                                                                          \
	{                                                                                          \
		name, offsetof(struct aws_profile, member),                                        \
		    sizeof(((struct aws_profile *)0)->member)                                      \
	}

static const struct profile_key profile_keys[] = {
	KEY("aws_access_key_id", keys.access_key),
	KEY("aws_secret_access_key", keys.secret_key),
	KEY("aws_session_token", keys.session_token),
	KEY("region", region),
	KEY("role_arn", role_arn),
	KEY("source_profile", source_profile),
	KEY("credential_source", credential_source),
	KEY("role_session_name", role_session_name),
	KEY("external_id", external_id),
	KEY("web_identity_token_file", web_identity_token_file),
};

/* They need a browser, a device or a program of their own. */
static const char *const unsupported_keys[] = { "sso_session", "sso_start_url",
	"credential_process", "mfa_serial", "login_session" };

/* [NAME], [profile NAME], perhaps with a note behind: is it the one asked for? */
static bool
is_section(struct slice line, const char *name, bool is_config)
{
	const char *end = memrchr(line.ptr, ']', line.len);
	struct slice s;

	if (end == NULL)
		return false;
	s = slice_trim(slice_make(line.ptr + 1, (size_t)(end - line.ptr - 1)));
	if (!is_config || (strcmp(name, "default") == 0 && slice_equal(s, SLICE("default"))))
		return slice_equal(s, slice_str(name));
	if (s.len < 9 || memcmp(s.ptr, "profile", 7) != 0 || (s.ptr[7] != ' ' && s.ptr[7] != '\t'))
		return false;
	return slice_equal(slice_trim(slice_make(s.ptr + 7, s.len - 7)), slice_str(name));
}

static int
set_key(struct aws_profile *p, struct slice name, struct slice value, size_t line, struct err *err)
{
	for (size_t i = 0; i < sizeof(unsupported_keys) / sizeof(unsupported_keys[0]); i++)
		if (slice_equal_nocase(name, slice_str(unsupported_keys[i])))
			p->unsupported = unsupported_keys[i];
	for (size_t i = 0; i < sizeof(profile_keys) / sizeof(profile_keys[0]); i++) {
		const struct profile_key *key = &profile_keys[i];
		char *slot = (char *)p + key->offset;

		if (!slice_equal_nocase(name, slice_str(key->name)) || slot[0] != '\0')
			continue;
		if (value.len >= key->room || !is_key_text(value, key->room)) {
			err->offset = line;
			return err_set(err,
			    "line %zu: %s is too long or has characters that none has", line,
			    key->name);
		}
		put(slot, value);
	}
	return 0;
}

/* "key = value" or "key: value". */
static int
read_setting(struct aws_profile *p, struct slice line, size_t number, struct err *err)
{
	size_t n = 0;

	while (n < line.len && line.ptr[n] != '=' && line.ptr[n] != ':')
		n++;
	if (n == line.len) {
		err->offset = number;
		return err_set(err, "line %zu: expected key = value", number);
	}
	return set_key(p, slice_trim(slice_make(line.ptr, n)),
	    slice_trim(slice_make(line.ptr + n + 1, line.len - n - 1)), number, err);
}

/* As botocore reads it (Python's configparser): a line that is indented deeper than the setting before it
 * continues that one (s3 =), none of ours. */
int
aws_profile_parse(
    struct aws_profile *p, struct slice text, const char *name, bool is_config, struct err *err)
{
	bool here = false, setting = false;
	size_t number = 0, indent = 0;

	if (text.len > AWS_TEXT_MAX)
		return err_set(err, "it is larger than %zu bytes", AWS_TEXT_MAX);
	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t n = end != NULL ? (size_t)(end - text.ptr) : text.len;
		struct slice raw = slice_make(text.ptr, n), line = slice_trim(raw);

		text.ptr += n + (end != NULL);
		text.len -= n + (end != NULL);
		number++;
		if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';' ||
		    (setting && (size_t)(line.ptr - raw.ptr) > indent))
			continue;
		indent = (size_t)(line.ptr - raw.ptr);
		setting = line.ptr[0] != '[';
		if (!setting) {
			here = is_section(line, name, is_config);
			p->found = p->found || here;
			continue;
		}
		if (here && read_setting(p, line, number, err) < 0)
			return -1;
	}
	if ((p->keys.access_key[0] == '\0') != (p->keys.secret_key[0] == '\0'))
		return err_set(err,
		    "profile '%.60s' has one of aws_access_key_id and "
		    "aws_secret_access_key without the other",
		    name);
	return 0;
}

/* ---- JSON ---- */

static struct slice
text_of(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return json_is_string(value)
	    ? slice_make(json_string_value(value), json_string_length(value))
	    : slice_make(NULL, 0);
}

static int
read_json(struct aws_credentials *c, const json_t *answer, struct err *err)
{
	struct slice code = text_of(answer, "Code"), until = text_of(answer, "Expiration");
	struct aws_credentials found = { 0 };

	if (!json_is_object(answer))
		return err_set(err, "the answer is no JSON object");
	if (code.len > 0 && !slice_equal(code, SLICE("Success")))
		return err_set(err, "the answer's code is not Success");
	if (aws_credentials_set(&found, text_of(answer, "AccessKeyId"),
		text_of(answer, "SecretAccessKey"), text_of(answer, "Token"), err) < 0)
		return -1;
	if (until.len > 0 && (found.expires_s = aws_time_parse(until)) < 0) {
		aws_credentials_wipe(&found);
		return err_set(err, "Expiration is no time such as 2026-01-02T03:04:05Z");
	}
	*c = found;
	aws_credentials_wipe(&found);
	return 0;
}

int
aws_json_answer_parse(struct aws_credentials *c, struct slice json, struct err *err)
{
	json_t *answer;
	int result;

	if (json.len > AWS_TEXT_MAX)
		return err_set(err, "the answer is larger than %zu bytes", AWS_TEXT_MAX);
	answer = json_loadb(json.len > 0 ? json.ptr : "", json.len, JSON_REJECT_DUPLICATES, NULL);
	result = read_json(c, answer, err);
	json_decref(answer);
	return result;
}

/* ---- XML ---- */

/* Text of the first <name>…</name> in s; entities and inner elements make it empty. */
static struct slice
element(struct slice s, const char *name)
{
	char open[64], close[64];
	const char *from, *to;
	size_t left;

	(void)snprintf(open, sizeof(open), "<%s>", name);
	(void)snprintf(close, sizeof(close), "</%s>", name);
	from = s.len > 0 ? memmem(s.ptr, s.len, open, strlen(open)) : NULL;
	if (from == NULL)
		return slice_make(NULL, 0);
	from += strlen(open);
	left = s.len - (size_t)(from - s.ptr);
	to = memmem(from, left, close, strlen(close));
	return to != NULL ? slice_make(from, (size_t)(to - from)) : slice_make(NULL, 0);
}

static struct slice
leaf(struct slice s, const char *name)
{
	struct slice text = slice_trim(element(s, name));

	if (text.len > 0 &&
	    (memchr(text.ptr, '<', text.len) != NULL || memchr(text.ptr, '&', text.len) != NULL))
		return slice_make(NULL, 0);
	return text;
}

int
aws_sts_answer_parse(struct aws_credentials *c, struct slice xml, struct err *err)
{
	struct slice inner, code;
	struct aws_credentials found = { 0 };

	if (xml.len > AWS_TEXT_MAX)
		return err_set(err, "the answer is larger than %zu bytes", AWS_TEXT_MAX);
	inner = element(xml, "Credentials");
	if (inner.len == 0) {
		code = leaf(element(xml, "Error"), "Code");
		for (size_t i = 0; i < code.len; i++)
			if ((unsigned char)code.ptr[i] < ' ' || (unsigned char)code.ptr[i] > '~')
				code.len = i;
		if (code.len == 0)
			return err_set(err, "STS gave neither credentials nor an error code");
		if (code.len > 80)
			code.len = 80;
		return err_set(err, "STS says %.*s", SLICE_ARG(code));
	}
	if (aws_credentials_set(&found, leaf(inner, "AccessKeyId"), leaf(inner, "SecretAccessKey"),
		leaf(inner, "SessionToken"), err) < 0)
		return -1;
	found.expires_s = aws_time_parse(leaf(inner, "Expiration"));
	if (found.expires_s < 0 || found.session_token[0] == '\0') {
		aws_credentials_wipe(&found);
		return err_set(err, "STS gave credentials without their expiration or token");
	}
	*c = found;
	aws_credentials_wipe(&found);
	return 0;
}
