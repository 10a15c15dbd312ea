/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aws_credentials: what signs a request, and the forms in which it is handed out: the shared
 * files (INI), the JSON of container agents and of the instance metadata service, the XML of
 * STS. Parsers only: no I/O, no clock. Wipe what is no longer needed.
 */
#ifndef KAIRAN_AWS_CREDENTIALS_H
#define KAIRAN_AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "slice.h"

#define AWS_KEY_MAX 128
#define AWS_SECRET_MAX 256
#define AWS_TOKEN_MAX 8192
#define AWS_TEXT_MAX ((size_t)256 << 10) /* a credentials file or answer */
#define AWS_VALUE_MAX 2048		 /* a value of a profile */

struct aws_credentials {
	char access_key[AWS_KEY_MAX + 1]; /* "": none */
	char secret_key[AWS_SECRET_MAX + 1];
	char session_token[AWS_TOKEN_MAX + 1]; /* "": long-term keys */
	int64_t expires_s;		       /* Unix time; 0: they do not expire */
};

void aws_credentials_wipe(struct aws_credentials *c);

/* Sets the three texts, empty token allowed. -1 with err when one is missing, too long, or has
 * blanks or control characters. The words never appear in err. */
MUST_CHECK int aws_credentials_set(struct aws_credentials *c, struct slice access_key,
    struct slice secret_key, struct slice session_token, struct err *err);

/* What one profile says, from one file or both. "" where it says nothing. */
struct aws_profile {
	bool found;
	struct aws_credentials keys; /* access_key "" when there are none */
	char region[64];
	char role_arn[AWS_VALUE_MAX], source_profile[256], credential_source[64];
	char role_session_name[128], external_id[AWS_VALUE_MAX], web_identity_token_file[1024];
	const char *unsupported; /* a key that needs what is not offered, e.g. "sso_session" */
};

/*
 * Adds to *p (zeroed before the first file) what the profile `name` says in text.
 * is_config: ~/.aws/config, whose sections are [default] and [profile NAME]; else
 * ~/.aws/credentials, whose sections are [NAME]. What is already set stays. 0, or -1 with err
 * (offset is the line).
 */
MUST_CHECK int aws_profile_parse(
    struct aws_profile *p, struct slice text, const char *name, bool is_config, struct err *err);

/* {"AccessKeyId","SecretAccessKey","Token","Expiration"}, with "Code":"Success" from instances. */
MUST_CHECK int aws_json_answer_parse(struct aws_credentials *c, struct slice json, struct err *err);

/* XML of AssumeRole and AssumeRoleWithWebIdentity; an <Error> becomes err. */
MUST_CHECK int aws_sts_answer_parse(struct aws_credentials *c, struct slice xml, struct err *err);

/* 2026-01-02T03:04:05Z, with or without a fraction, as Unix time; -1 when it is none. */
int64_t aws_time_parse(struct slice text);

#endif
