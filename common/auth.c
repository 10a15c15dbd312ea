/* SPDX-License-Identifier: Apache-2.0 */
/* auth: see auth.h. Every buffer that held a secret is wiped before it goes. */
#include "auth.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret.h"

#define SHA256_BYTES 32
#define SES_VERSION 0x04

/* What a file says, before it is made credentials. */
enum field { F_USER, F_PASSWORD, F_TOKEN, F_SES_KEY, F_SES_REGION, F_MECHANISM, FIELDS };

static const struct slice field_names[FIELDS] = {
	[F_USER] = { "user", 4 },
	[F_PASSWORD] = { "password", 8 },
	[F_TOKEN] = { "token", 5 },
	[F_SES_KEY] = { "ses_secret_key", 14 },
	[F_SES_REGION] = { "ses_region", 10 },
	[F_MECHANISM] = { "mechanism", 9 },
};

enum auth_mechanism
auth_mechanism_of(struct slice name)
{
	if (slice_equal_nocase(name, SLICE("PLAIN")))
		return AUTH_PLAIN;
	if (slice_equal_nocase(name, SLICE("LOGIN")))
		return AUTH_LOGIN;
	return slice_equal_nocase(name, SLICE("XOAUTH2")) ? AUTH_XOAUTH2 : AUTH_NONE;
}

const char *
auth_mechanism_name(enum auth_mechanism mechanism)
{
	switch (mechanism) {
	case AUTH_PLAIN:
		return "PLAIN";
	case AUTH_LOGIN:
		return "LOGIN";
	case AUTH_XOAUTH2:
		return "XOAUTH2";
	case AUTH_NONE:
		break;
	}
	return "none";
}

enum auth_mechanism
auth_choose(const struct auth *a, unsigned offered)
{
	static const enum auth_mechanism order[] = { AUTH_XOAUTH2, AUTH_PLAIN, AUTH_LOGIN };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if ((a->mechanisms & offered & order[i]) != 0)
			return order[i];
	return AUTH_NONE;
}

/* ---- the file ---- */

static int
read_line(struct slice fields[FIELDS], struct slice line, unsigned number, struct err *err)
{
	const char *equals = memchr(line.ptr, '=', line.len);
	struct slice name, value;

	if (equals == NULL)
		return err_set(err, "line %u: expected name = value", number);
	name = slice_trim(slice_make(line.ptr, (size_t)(equals - line.ptr)));
	value = slice_trim(slice_make(equals + 1, line.len - (size_t)(equals + 1 - line.ptr)));
	for (int i = 0; i < FIELDS; i++) {
		if (!slice_equal(name, field_names[i]))
			continue;
		if (fields[i].len > 0)
			return err_set(
			    err, "line %u: %s is given twice", number, field_names[i].ptr);
		for (size_t k = 0; k < value.len; k++)
			if ((unsigned char)value.ptr[k] < ' ' || value.ptr[k] == 0x7f)
				return err_set(
				    err, "line %u: control characters are not allowed", number);
		if (value.len == 0)
			return err_set(err, "line %u: %s has no value", number, field_names[i].ptr);
		fields[i] = value;
		return 0;
	}
	return err_set(err,
	    "line %u: expected user, password, token, ses_secret_key, ses_region or mechanism",
	    number);
}

static int
take_secret(struct auth *a, const struct slice fields[FIELDS], struct err *err)
{
	bool password = fields[F_PASSWORD].len > 0, token = fields[F_TOKEN].len > 0;
	bool ses = fields[F_SES_KEY].len > 0;
	struct slice secret = token ? fields[F_TOKEN] : fields[F_PASSWORD];

	if (password + token + ses != 1)
		return err_set(err, "one of password, token and ses_secret_key is needed");
	if (ses != (fields[F_SES_REGION].len > 0))
		return err_set(err, "ses_secret_key and ses_region are given together");
	a->mechanisms = token ? AUTH_XOAUTH2 : AUTH_PLAIN | AUTH_LOGIN;
	if (ses)
		return auth_ses_password(fields[F_SES_KEY], fields[F_SES_REGION], a->secret) == 0
		    ? 0
		    : err_set(err, "the password cannot be derived from ses_secret_key");
	if (secret.len > AUTH_SECRET_MAX)
		return err_set(err, "the secret is longer than %d bytes", AUTH_SECRET_MAX);
	memcpy(a->secret, secret.ptr, secret.len);
	return 0;
}

static int
take_fields(struct auth *a, const struct slice fields[FIELDS], struct err *err)
{
	if (fields[F_USER].len == 0 || fields[F_USER].len > AUTH_USER_MAX)
		return err_set(err, "user is needed, with at most %d bytes", AUTH_USER_MAX);
	memcpy(a->user, fields[F_USER].ptr, fields[F_USER].len);
	if (take_secret(a, fields, err) < 0)
		return -1;
	if (fields[F_MECHANISM].len == 0)
		return 0;
	a->mechanisms &= auth_mechanism_of(fields[F_MECHANISM]);
	if (a->mechanisms == 0)
		return err_set(
		    err, "mechanism must be plain or login with a password, xoauth2 with a token");
	return 0;
}

int
auth_parse(struct auth *a, struct slice text, struct err *err)
{
	struct slice fields[FIELDS] = { { NULL, 0 } };
	int result = 0;

	*a = (struct auth){ 0 };
	for (unsigned number = 1; text.len > 0 && result == 0; number++) {
		const char *lf = memchr(text.ptr, '\n', text.len);
		size_t len = lf != NULL ? (size_t)(lf - text.ptr) : text.len;
		size_t used = lf != NULL ? len + 1 : len;
		struct slice line = slice_trim(slice_make(text.ptr, len));

		if (line.len > 0 && line.ptr[0] != '#')
			result = read_line(fields, line, number, err);
		text = slice_make(text.ptr + used, text.len - used);
	}
	if (result == 0)
		result = take_fields(a, fields, err);
	if (result < 0)
		auth_wipe(a);
	return result;
}

int
auth_load(struct auth *a, const char *path, struct err *err)
{
	char text[AUTH_FILE_MAX];
	struct err why = { 0 };
	struct stat st;
	ssize_t n;
	int fd, result = -1;

	*a = (struct auth){ 0 };
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, "cannot open credentials %s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		(void)err_set(err, "credentials %s are not a regular file", path);
	else if (!secret_is_private(path, st.st_mode))
		(void)err_set(
		    err, "credentials %s can be read by others; run: chmod 600 %s", path, path);
	else if ((n = read(fd, text, sizeof(text))) < 0 || n == (ssize_t)sizeof(text))
		(void)err_set(err, "credentials %s cannot be read or are larger than %d bytes",
		    path, AUTH_FILE_MAX);
	else if (auth_parse(a, slice_make(text, (size_t)n), &why) < 0)
		(void)err_set(err, "credentials %s: %s", path, why.msg);
	else
		result = 0;
	OPENSSL_cleanse(text, sizeof(text));
	close(fd);
	return result;
}

void
auth_wipe(struct auth *a)
{
	OPENSSL_cleanse(a, sizeof(*a));
}

/* ---- what is said ---- */

static void
put_base64(struct buf *out, const void *bytes, size_t n)
{
	if (!buf_reserve(out, 4 * ((n + 2) / 3) + 1))
		return;
	buf_commit(
	    out, (size_t)EVP_EncodeBlock((unsigned char *)out->data + out->len, bytes, (int)n));
}

/* Base64 of the parts, joined. */
static void
put_joined(struct buf *out, const struct slice *parts, size_t count)
{
	struct buf plain;

	buf_init(&plain, AUTH_LINE_MAX);
	/* no growth later, so that no copy of the secret stays behind */
	if (buf_reserve(&plain, AUTH_LINE_MAX - 1)) {
		for (size_t i = 0; i < count; i++)
			buf_append_slice(&plain, parts[i]);
		put_base64(out, plain.data, plain.len);
		OPENSSL_cleanse(plain.data, plain.capacity);
	} else {
		out->failed = true;
	}
	buf_release(&plain);
}

void
auth_put(struct buf *out, const struct auth *a, enum auth_mechanism mechanism, unsigned step)
{
	const struct slice user = slice_str(a->user), secret = slice_str(a->secret);
	const struct slice plain[] = { SLICE("\0"), user, SLICE("\0"), secret };
	const struct slice xoauth2[] = { SLICE("user="), user, SLICE("\001auth=Bearer "), secret,
		SLICE("\001\001") };

	if (step == 0) {
		buf_append_str(out, "AUTH ");
		buf_append_str(out, auth_mechanism_name(mechanism));
	}
	if (step == 0 && mechanism == AUTH_PLAIN) {
		buf_append_char(out, ' ');
		put_joined(out, plain, 4);
	} else if (step == 0 && mechanism == AUTH_XOAUTH2) {
		buf_append_char(out, ' ');
		put_joined(out, xoauth2, 5);
	} else if (mechanism == AUTH_LOGIN && step == 1) {
		put_base64(out, user.ptr, user.len);
	} else if (mechanism == AUTH_LOGIN && step == 2) {
		put_base64(out, secret.ptr, secret.len);
	} else if (step > 0 && !(mechanism == AUTH_XOAUTH2 && step == 1)) {
		buf_append_char(out, '*');
	}
	buf_append_str(out, "\r\n");
}

/* ---- Amazon SES ---- */

static bool
hmac(unsigned char key[SHA256_BYTES], size_t key_bytes, const char *data, size_t n)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int bytes = 0;
	bool good = HMAC(EVP_sha256(), key, (int)key_bytes, (const unsigned char *)data, n, mac,
			&bytes) != NULL &&
	    bytes == SHA256_BYTES;

	memcpy(key, mac, SHA256_BYTES);
	OPENSSL_cleanse(mac, sizeof(mac));
	return good;
}

int
auth_ses_password(
    struct slice secret_key, struct slice region, char dst[AUTH_SES_PASSWORD_CHARS + 1])
{
	const struct slice steps[] = { SLICE("11111111"), region, SLICE("ses"),
		SLICE("aws4_request"), SLICE("SendRawEmail") };
	unsigned char key[256] = "AWS4", out[1 + SHA256_BYTES] = { SES_VERSION };
	size_t key_bytes = 4 + secret_key.len;
	bool good = key_bytes <= sizeof(key) && region.len > 0;

	if (good)
		memcpy(key + 4, secret_key.ptr, secret_key.len);
	for (size_t i = 0; good && i < sizeof(steps) / sizeof(steps[0]); i++) {
		good = hmac(key, key_bytes, steps[i].ptr, steps[i].len);
		key_bytes = SHA256_BYTES;
	}
	memcpy(out + 1, key, SHA256_BYTES);
	dst[0] = '\0';
	if (good)
		(void)EVP_EncodeBlock((unsigned char *)dst, out, sizeof(out));
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(out, sizeof(out));
	return good ? 0 : -1;
}
