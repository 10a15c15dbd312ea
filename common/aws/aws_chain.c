/* SPDX-License-Identifier: Apache-2.0 */
/* aws_chain: see aws_chain.h. Each source answers FOUND, ABSENT (look further) or BROKEN (it is
 * meant to be used and cannot be: looking further would sign with the wrong identity). */
#include "aws_chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws_call.h"
#include "aws_endpoint.h"

#define AGENT_CONNECT_MS 1000 /* agents are on this host or beside it */
#define AGENT_MS 3000
#define ROLES_MAX 4 /* profiles that lead to each other */
#define ROLE_SECONDS "3600"
#define SESSION_NAME "kairan"
#define INSTANCE_ENDPOINT "http://169.254.169.254"
#define CONTAINER_ENDPOINT "http://169.254.170.2"

enum found { FOUND, ABSENT, BROKEN };

struct search {
	const struct aws_chain *chain;
	struct aws_credentials *c;
	struct err *err;
	char region[64];
	int depth;
};

static const char *
environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL ? value : "";
}

static enum found
found_if(int result)
{
	return result == 0 ? FOUND : BROKEN;
}

/* ---- files ---- */

/* 0, 1 when it does not exist, -1 with err. */
static int
read_file(const char *path, struct buf *out, struct err *err)
{
	FILE *file = fopen(path, "re");
	struct stat st;
	size_t n;
	int result = 0;

	if (file == NULL && (errno == ENOENT || errno == ENOTDIR))
		return 1;
	if (file == NULL)
		return err_set(err, "%.200s: %s", path, strerror(errno));
	if (fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode))
		result = err_set(err, "%.200s is no regular file", path);
	while (result == 0 && !feof(file) && !ferror(file) && buf_reserve(out, 4096)) {
		n = fread(out->data + out->len, 1, 4096, file);
		buf_commit(out, n);
	}
	if (result == 0 && (ferror(file) || buf_failed(out)))
		result = err_set(
		    err, "%.200s cannot be read or is larger than %zu bytes", path, AWS_TEXT_MAX);
	fclose(file);
	return result;
}

static void
shared_path(const char *variable, const char *name, char dst[512])
{
	if (environment(variable)[0] != '\0')
		(void)snprintf(dst, 512, "%s", environment(variable));
	else
		(void)snprintf(dst, 512, "%s/.aws/%s", environment("HOME"), name);
}

/* Both files; p says afterwards whether the profile exists. */
static int
read_profile(struct aws_profile *p, const char *name, struct err *err)
{
	static const struct {
		const char *variable, *name;
		bool is_config;
	} files[] = { { "AWS_SHARED_CREDENTIALS_FILE", "credentials", false },
		{ "AWS_CONFIG_FILE", "config", true } };
	struct err why = { 0 };
	char path[512];
	int result = 0;

	memset(p, 0, sizeof(*p));
	for (size_t i = 0; i < 2 && result == 0; i++) {
		struct buf text;

		buf_init(&text, AWS_TEXT_MAX);
		shared_path(files[i].variable, files[i].name, path);
		result = read_file(path, &text, err);
		if (result == 0 &&
		    aws_profile_parse(p, buf_slice(&text), name, files[i].is_config, &why) < 0)
			result = err_set(err, "%.200s: %.150s", path, why.msg);
		else if (result == 1)
			result = 0;
		if (text.data != NULL)
			explicit_bzero(text.data, text.len);
		buf_release(&text);
	}
	return result;
}

static const char *
profile_name(void)
{
	const char *name = environment("AWS_PROFILE");

	return name[0] != '\0' ? name : "default";
}

void
aws_chain_region(const char *given, char dst[64])
{
	struct aws_profile *p;
	struct err err;

	dst[0] = '\0';
	if (given != NULL && given[0] != '\0')
		(void)snprintf(dst, 64, "%s", given);
	else if (environment("AWS_REGION")[0] != '\0')
		(void)snprintf(dst, 64, "%s", environment("AWS_REGION"));
	else if (environment("AWS_DEFAULT_REGION")[0] != '\0')
		(void)snprintf(dst, 64, "%s", environment("AWS_DEFAULT_REGION"));
	if (dst[0] != '\0' || (p = malloc(sizeof(*p))) == NULL)
		return;
	if (read_profile(p, profile_name(), &err) == 0)
		(void)snprintf(dst, 64, "%s", p->region);
	aws_credentials_wipe(&p->keys);
	free(p);
}

/* ---- STS ---- */

static void
parameter(struct buf *form, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	buf_printf(form, "&%s=", name);
	sigv4_encode(form, slice_str(value), false);
}

/* One action of STS; signed when there are keys. */
static int
ask_sts(struct search *s, const struct aws_credentials *keys, const struct buf *form)
{
	static const char type[] = "application/x-www-form-urlencoded";
	struct aws_request request = {
		.method = "POST", .path = SLICE("/"), .content_type = type, .body = buf_slice(form)
	};
	struct curl_slist *headers;
	struct aws_endpoint endpoint;
	struct aws_client client = { .endpoint = &endpoint,
		.credentials = keys,
		.ca_file = s->chain->ca_file,
		.timeout_s = s->chain->timeout_s };
	struct aws_reply reply;
	struct err why;
	int result = -1;

	if (aws_endpoint_make(&endpoint, AWS_STS, NULL, s->region, s->err) < 0)
		return -1;
	if (buf_failed(form))
		return err_set(s->err, "the request to STS is too long");
	aws_reply_init(&reply);
	if (keys != NULL) {
		result = aws_call(&client, &request, &reply, &why);
	} else {
		headers =
		    curl_slist_append(NULL, "Content-Type: application/x-www-form-urlencoded");
		result = aws_http(&(struct aws_http){ .url = endpoint.origin,
				      .ca_file = s->chain->ca_file,
				      .headers = headers,
				      .connect_timeout_ms = s->chain->timeout_s * 1000,
				      .timeout_ms = s->chain->timeout_s * 1000 },
		    "POST", request.body, &reply, &why);
		curl_slist_free_all(headers);
	}
	if (result == 0)
		result = aws_sts_answer_parse(s->c, buf_slice(&reply.body), &why);
	if (result < 0)
		(void)err_set(s->err, "role from %s: %s", endpoint.host, why.msg);
	if (reply.body.data != NULL)
		explicit_bzero(reply.body.data, reply.body.len);
	aws_reply_release(&reply);
	return result;
}

static int
web_identity(struct search *s, const char *role, const char *session, const char *file)
{
	struct buf form, token;
	int result;

	buf_init(&form, 64 << 10);
	buf_init(&token, 32 << 10);
	result = read_file(file, &token, s->err);
	if (result == 1)
		result = err_set(s->err, "%.200s does not exist", file);
	if (result == 0) {
		buf_append_str(&form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
		parameter(&form, "DurationSeconds", ROLE_SECONDS);
		parameter(&form, "RoleArn", role);
		parameter(&form, "RoleSessionName", session[0] != '\0' ? session : SESSION_NAME);
		buf_append_str(&form, "&WebIdentityToken=");
		sigv4_encode(&form, slice_trim(buf_slice(&token)), false);
		result = ask_sts(s, NULL, &form);
	}
	buf_release(&form);
	buf_release(&token);
	return result;
}

static int
assume_role(struct search *s, const struct aws_profile *p, const struct aws_credentials *keys)
{
	struct buf form;
	int result;

	buf_init(&form, 16 << 10);
	buf_append_str(&form, "Action=AssumeRole&Version=2011-06-15");
	parameter(&form, "DurationSeconds", ROLE_SECONDS);
	parameter(&form, "ExternalId", p->external_id);
	parameter(&form, "RoleArn", p->role_arn);
	parameter(&form, "RoleSessionName",
	    p->role_session_name[0] != '\0' ? p->role_session_name : SESSION_NAME);
	result = ask_sts(s, keys, &form);
	buf_release(&form);
	return result;
}

/* ---- sources ---- */

static enum found
from_environment(struct search *s)
{
	const char *key = environment("AWS_ACCESS_KEY_ID");
	const char *secret = environment("AWS_SECRET_ACCESS_KEY");

	if (key[0] == '\0' && secret[0] == '\0')
		return ABSENT;
	return found_if(aws_credentials_set(s->c, slice_str(key), slice_str(secret),
	    slice_str(environment("AWS_SESSION_TOKEN")), s->err));
}

static enum found
from_web_identity(struct search *s)
{
	const char *file = environment("AWS_WEB_IDENTITY_TOKEN_FILE");

	if (file[0] == '\0')
		return ABSENT;
	if (environment("AWS_ROLE_ARN")[0] == '\0')
		return found_if(
		    err_set(s->err, "AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN"));
	return found_if(web_identity(
	    s, environment("AWS_ROLE_ARN"), environment("AWS_ROLE_SESSION_NAME"), file));
}

bool
aws_chain_uri_is_allowed(const char *uri)
{
	static const char *const hosts[] = { "localhost", "127.0.0.1", "[::1]", "169.254.170.2",
		"169.254.170.23", "[fd00:ec2::23]" };

	if (strncmp(uri, "https://", 8) == 0)
		return true;
	if (strncmp(uri, "http://", 7) != 0)
		return false;
	uri += 7;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		size_t n = strlen(hosts[i]);

		if (strncmp(uri, hosts[i], n) == 0 &&
		    (uri[n] == '/' || uri[n] == '\0' ||
			(uri[n] == ':' &&
			    strspn(uri + n + 1, "0123456789") == strcspn(uri + n + 1, "/"))))
			return true;
	}
	return false;
}

/* An agent's answer; its status is judged here. */
static int
ask_agent(const char *method, const char *url, const char *header, struct aws_reply *reply,
    struct err *err)
{
	struct curl_slist *headers = header != NULL ? curl_slist_append(NULL, header) : NULL;
	struct aws_http http = { .url = url,
		.headers = headers,
		.no_proxy = true,
		.connect_timeout_ms = AGENT_CONNECT_MS,
		.timeout_ms = AGENT_MS };
	int result = aws_http(&http, method, slice_make(NULL, 0), reply, err);

	curl_slist_free_all(headers);
	if (result == 0 && (reply->status != 200 || !reply->whole))
		return err_set(err, "it answered with status %d", reply->status);
	return result;
}

static int
container_header(struct buf *header, struct err *err)
{
	const char *file = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	struct buf token;
	int result = 0;

	buf_init(&token, AWS_TOKEN_MAX);
	if (file[0] != '\0')
		result = read_file(file, &token, err);
	else
		buf_append_str(&token, environment("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
	if (result == 1)
		result = err_set(err, "%.200s does not exist", file);
	if (result == 0 && token.len > 0) {
		struct slice value = slice_trim(buf_slice(&token));

		for (size_t i = 0; i < value.len; i++)
			if ((unsigned char)value.ptr[i] < ' ')
				result = err_set(err, "the agent's token has control characters");
		buf_printf(header, "Authorization: %.*s", SLICE_ARG(value));
	}
	buf_release(&token);
	return result;
}

static enum found
from_container(struct search *s)
{
	const char *relative = environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	struct aws_reply reply;
	struct buf url, header;
	struct err why = { 0 };
	int result = -1;

	if (relative[0] == '\0' && full[0] == '\0')
		return ABSENT;
	buf_init(&url, 2048);
	buf_init(&header, AWS_TOKEN_MAX + 64);
	aws_reply_init(&reply);
	if (relative[0] != '\0')
		buf_printf(&url, CONTAINER_ENDPOINT "%s", relative);
	else
		buf_append_str(&url, full);
	if (buf_failed(&url) || !aws_chain_uri_is_allowed(buf_str(&url)))
		(void)err_set(&why,
		    "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http on "
		    "this host or the agent's");
	else if (container_header(&header, &why) == 0 &&
	    ask_agent(
		"GET", buf_str(&url), header.len > 0 ? buf_str(&header) : NULL, &reply, &why) == 0)
		result = aws_json_answer_parse(s->c, buf_slice(&reply.body), &why);
	if (result < 0)
		(void)err_set(s->err, "container agent: %s", why.msg);
	aws_reply_release(&reply);
	buf_release(&url);
	buf_release(&header);
	return found_if(result);
}

static const char *
instance_endpoint(void)
{
	const char *given = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");

	return given[0] != '\0' ? given : INSTANCE_ENDPOINT;
}

/* GET of a path below meta-data with the session's token. */
static int
instance_get(const char *token_header, const char *role, struct aws_reply *reply, struct err *err)
{
	struct buf url;
	int result;

	buf_init(&url, 1024);
	buf_printf(
	    &url, "%s/latest/meta-data/iam/security-credentials/%s", instance_endpoint(), role);
	result = buf_failed(&url) ? err_set(err, "the address of the metadata service is too long")
				  : ask_agent("GET", buf_str(&url), token_header, reply, err);
	buf_release(&url);
	return result;
}

static int
instance_role(const char *header, struct aws_credentials *c, struct err *err)
{
	struct aws_reply name, keys;
	char role[128] = "";
	int result;

	aws_reply_init(&name);
	aws_reply_init(&keys);
	result = instance_get(header, "", &name, err);
	if (result == 0) {
		struct slice line = slice_trim(buf_slice(&name.body));

		(void)snprintf(role, sizeof(role), "%.*s",
		    line.len < sizeof(role) ? (int)line.len : 0, line.len > 0 ? line.ptr : "");
		if (role[0] == '\0' ||
		    role[strspn(role,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO"
			"PQRSTUVWXYZ0123456789+=,.@_-")] != '\0')
			result = err_set(err, "it names no role");
	}
	if (result == 0)
		result = instance_get(header, role, &keys, err);
	if (result == 0)
		result = aws_json_answer_parse(c, buf_slice(&keys.body), err);
	aws_reply_release(&name);
	aws_reply_release(&keys);
	return result;
}

static enum found
from_instance(struct search *s)
{
	struct buf url, header;
	struct aws_reply token;
	struct err why = { 0 };
	enum found result = ABSENT;

	if (strcmp(environment("AWS_EC2_METADATA_DISABLED"), "true") == 0)
		return ABSENT;
	buf_init(&url, 1024);
	buf_init(&header, 2048);
	aws_reply_init(&token);
	buf_printf(&url, "%s/latest/api/token", instance_endpoint());
	if (ask_agent("PUT", buf_str(&url), "X-aws-ec2-metadata-token-ttl-seconds: 21600", &token,
		&why) == 0) {
		buf_append_str(&header, "X-aws-ec2-metadata-token: ");
		buf_append_slice(&header, slice_trim(buf_slice(&token.body)));
		result = !buf_failed(&header) && strcspn(buf_str(&header), "\r\n") == header.len &&
			instance_role(buf_str(&header), s->c, &why) == 0
		    ? FOUND
		    : BROKEN;
	}
	if (result == BROKEN)
		(void)err_set(s->err, "instance metadata: %s", why.msg);
	aws_reply_release(&token);
	buf_release(&url);
	buf_release(&header);
	return result;
}

static enum found from_profile(struct search *s, const char *name, bool is_asked_for);

/* Keys that a profile's role is assumed with. */
static int
role_keys(
    struct search *s, const struct aws_profile *p, const char *name, struct aws_credentials *keys)
{
	struct search inner = *s;
	enum found found = ABSENT;

	inner.c = keys;
	inner.depth++;
	if (p->source_profile[0] != '\0' && strcmp(p->source_profile, name) == 0) {
		*keys = p->keys; /* its own keys are meant, not its role */
		found = keys->access_key[0] != '\0' ? FOUND : ABSENT;
	} else if (p->source_profile[0] != '\0') {
		found = from_profile(&inner, p->source_profile, true);
	} else if (strcmp(p->credential_source, "Environment") == 0) {
		found = from_environment(&inner);
	} else if (strcmp(p->credential_source, "EcsContainer") == 0) {
		found = from_container(&inner);
	} else if (strcmp(p->credential_source, "Ec2InstanceMetadata") == 0) {
		found = from_instance(&inner);
	}
	if (found == ABSENT)
		return err_set(s->err,
		    "profile '%.60s' has a role_arn, but its source_profile or "
		    "credential_source gives no keys",
		    name);
	return found == FOUND ? 0 : -1;
}

static enum found
use_profile(struct search *s, const struct aws_profile *p, const char *name)
{
	struct aws_credentials keys = { 0 };
	int result;

	if (p->role_arn[0] != '\0' && p->web_identity_token_file[0] != '\0')
		return found_if(
		    web_identity(s, p->role_arn, p->role_session_name, p->web_identity_token_file));
	if (p->unsupported != NULL && p->keys.access_key[0] == '\0')
		return found_if(err_set(s->err,
		    "profile '%.60s' uses %s, which is not offered; use keys, a role, a container "
		    "or an instance",
		    name, p->unsupported));
	if (p->role_arn[0] != '\0') {
		result = role_keys(s, p, name, &keys);
		if (result == 0)
			result = assume_role(s, p, &keys);
		aws_credentials_wipe(&keys);
		return found_if(result);
	}
	if (p->keys.access_key[0] == '\0')
		return ABSENT;
	*s->c = p->keys;
	return FOUND;
}

static enum found
from_profile(struct search *s, const char *name, bool is_asked_for)
{
	struct aws_profile *p;
	enum found found;

	if (s->depth > ROLES_MAX)
		return found_if(err_set(s->err, "profiles lead to each other; see '%.60s'", name));
	p = malloc(sizeof(*p));
	if (p == NULL)
		return found_if(err_set(s->err, "no memory"));
	if (read_profile(p, name, s->err) < 0)
		found = BROKEN;
	else if (!p->found)
		found = is_asked_for
		    ? found_if(err_set(s->err, "there is no profile '%.60s' of Amazon", name))
		    : ABSENT;
	else
		found = use_profile(s, p, name);
	aws_credentials_wipe(&p->keys);
	free(p);
	return found;
}

static enum found
from_files(struct search *s)
{
	return from_profile(s, profile_name(), environment("AWS_PROFILE")[0] != '\0');
}

int
aws_chain_fetch(
    const struct aws_chain *chain, struct aws_credentials *c, const char **source, struct err *err)
{
	static const struct {
		const char *name;
		enum found (*look)(struct search *s);
	} sources[] = { { "environment", from_environment }, { "web identity", from_web_identity },
		{ "profile", from_files }, { "container", from_container },
		{ "instance", from_instance } };
	struct aws_credentials fresh = { 0 };
	struct search s = { .chain = chain, .c = &fresh, .err = err };
	enum found found = ABSENT;

	aws_chain_region(chain->region, s.region);
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]) && found == ABSENT; i++) {
		found = sources[i].look(&s);
		*source = sources[i].name;
	}
	if (found == FOUND)
		*c = fresh;
	aws_credentials_wipe(&fresh);
	if (found == ABSENT)
		return err_set(err,
		    "no credentials of Amazon: looked at the environment, ~/.aws, the container "
		    "agent and the instance metadata service");
	return found == FOUND ? 0 : -1;
}
