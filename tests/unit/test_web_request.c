/* SPDX-License-Identifier: Apache-2.0 */
/* web_request: paths, tokens and their purposes, forms in both encodings, languages, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "web_request.h"

static const struct token_keys keys = { .count = 2, .id = { 2, 1 }, .key = { { 9 }, { 5 } } };
static struct arena arena;
static char path[100];

static const char *
path_of(char letter, enum token_purpose purpose)
{
	char text[TOKEN_CHARS + 1];

	token_make(&keys, purpose, (struct token){ 7, 8, 1 }, text);
	(void)snprintf(path, sizeof(path), "/%c/%s", letter, text);
	return path;
}

static struct web_request
parse(struct web_request_input in)
{
	struct web_request r;

	arena_reset(&arena);
	web_request_parse(&r, &in, &keys, &arena);
	return r;
}

static struct web_request
post(const char *type, const char *body)
{
	return parse((struct web_request_input){ .path = slice_str(path_of('u', TOKEN_UNSUBSCRIBE)),
	    .content_type = slice_str(type),
	    .body = slice_str(body),
	    .is_post = true });
}

static struct web_request
get(const char *at)
{
	return parse((struct web_request_input){ .path = slice_str(at) });
}

static void
paths(void **state)
{
	(void)state;
	assert_int_equal(web_request_page(SLICE("/u/x")), WEB_UNSUBSCRIBE);
	assert_int_equal(web_request_page(SLICE("/a/x")), WEB_ADDRESS);
	assert_int_equal(web_request_page(SLICE("/c/x")), WEB_CONFIRM);
	assert_int_equal(web_request_page(SLICE("/u")), WEB_NO_PAGE);
	assert_int_equal(web_request_page(SLICE("/U/x")), WEB_NO_PAGE);
	assert_int_equal(web_request_page(SLICE("//u/x")), WEB_NO_PAGE);
	assert_int_equal(web_request_page(SLICE("")), WEB_NO_PAGE);
	assert_int_equal(web_request_page(SLICE("/sns")), WEB_NO_PAGE);
}

static void
tokens_have_a_purpose(void **state)
{
	struct web_request r = get(path_of('u', TOKEN_UNSUBSCRIBE));

	(void)state;
	assert_true(r.has_token && r.token.run == 7 && r.token.send == 8 && r.token.attempt == 1);
	assert_true(get(path_of('a', TOKEN_UNSUBSCRIBE)).has_token);
	assert_true(get(path_of('c', TOKEN_CONFIRM)).has_token);
	assert_false(get(path_of('c', TOKEN_UNSUBSCRIBE)).has_token);
	assert_false(get(path_of('u', TOKEN_CONFIRM)).has_token);
	assert_false(get(path_of('u', TOKEN_BOUNCE)).has_token);
	(void)path_of('u', TOKEN_UNSUBSCRIBE);
	path[10] = path[10] == 'a' ? 'b' : 'a';
	assert_false(get(path).has_token);
	assert_false(get("/u/").has_token);
}

/* A slash that a proxy or a person added. */
static void
slash_behind(void **state)
{
	char longer[101];

	(void)state;
	(void)snprintf(longer, sizeof(longer), "%s/", path_of('u', TOKEN_UNSUBSCRIBE));
	assert_true(get(longer).has_token);
}

static void
old_key_verifies(void **state)
{
	const struct token_keys old = { .count = 1, .id = { 1 }, .key = { { 5 } } };
	char text[TOKEN_CHARS + 1];

	(void)state;
	token_make(&old, TOKEN_UNSUBSCRIBE, (struct token){ 1, 2, 3 }, text);
	(void)snprintf(path, sizeof(path), "/u/%s", text);
	assert_true(get(path).has_token);
}

static void
one_click(void **state)
{
	static const char multipart[] =
	    "--b1\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n"
	    "--b1--\r\n";
	struct web_request r =
	    post("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click");

	(void)state;
	assert_true(r.is_post && r.has_token && !r.is_from_page && !r.all && !r.undo);
	r = post("multipart/form-data; boundary=\"b1\"", multipart);
	assert_true(r.is_post && r.has_token && !r.is_from_page && !r.all);
	r = post("", "");
	assert_true(r.is_post && r.has_token && !r.is_from_page);
}

static void
page_forms(void **state)
{
	struct web_request r = post("application/x-www-form-urlencoded", "scope=all");

	(void)state;
	assert_true(r.is_from_page && r.all);
	r = post("", "x=1&scope=list");
	assert_true(r.is_from_page && !r.all);
	r = post("", "do=undo");
	assert_true(r.is_from_page && r.undo);
	r = post("multipart/form-data; boundary=zz",
	    "--zz\r\nContent-Disposition: form-data; name=\"scope\"\r\n\r\nall\r\n--zz--");
	assert_true(r.is_from_page && r.all);
	r = post("", "old=+a%40b.example+&new=c%2Bd%40e.example");
	assert_true(slice_equal(r.old_address, SLICE("a@b.example")));
	assert_true(slice_equal(r.new_address, SLICE("c+d@e.example")));
	r = post("", "new=%00x@y.example");
	assert_int_equal(r.new_address.len, 0);
	r = post("", "new=a%4");
	assert_true(slice_equal(r.new_address, SLICE("a%4")));
}

/* What only looks like a request for a change is none. */
static void
A38_get_has_no_form(void **state)
{
	struct web_request r =
	    parse((struct web_request_input){ .path = slice_str(path_of('u', TOKEN_UNSUBSCRIBE)),
		.body = SLICE("scope=all&do=undo") });

	(void)state;
	assert_false(r.is_post || r.all || r.undo || r.is_from_page);
}

static void
broken_multipart(void **state)
{
	static const char *const bodies[] = { "--b", "--b\r\n", "--b--", "--b\r\n\r\n\r\n",
		"--b\r\nContent-Disposition: form-data; name=\"scope\"\r\n\r\nall",
		"--b\r\nname=scope\r\n\r\nall\r\n--b--",
		"--b\nContent-Disposition: form-data; name=scope\n\nall\n--b--" };

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		assert_false(post("multipart/form-data; boundary=b", bodies[i]).all);
	assert_false(post("multipart/form-data", "--\r\n\r\n--").all);
}

static void
limits(void **state)
{
	static char body[WEB_BODY_MAX + 2];
	struct web_request r;

	(void)state;
	memset(body, 'a', sizeof(body) - 1);
	memcpy(body, "scope=all&new=", 14);
	assert_false(post("", body).all); /* past WEB_BODY_MAX: nothing of it counts */
	body[WEB_BODY_MAX] = '\0';
	r = post("", body);
	assert_true(r.all);
	assert_int_equal(r.new_address.len, 0); /* past WEB_VALUE_MAX */
	memset(body, '&', sizeof(body) - 1);
	memcpy(body + 100, "scope=all", 9);
	body[200] = '\0';
	assert_false(post("", body).all); /* past WEB_FIELDS_MAX */
}

static void
languages(void **state)
{
	static const struct {
		const char *header;
		enum page_language want;
	} cases[] = { { "", LANGUAGE_NONE }, { "ja", LANGUAGE_JA },
		{ "ja-JP,en;q=0.5", LANGUAGE_JA }, { "fr, en;q=0.3, ja;q=0.8", LANGUAGE_JA },
		{ "en-US,en;q=0.9,ja;q=0.8", LANGUAGE_EN }, { "ja;q=0, en;q=0.001", LANGUAGE_EN },
		{ "fr", LANGUAGE_NONE }, { "*", LANGUAGE_NONE }, { "jam", LANGUAGE_NONE },
		{ ";;,,;q=,ja;q=x", LANGUAGE_NONE } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(parse((struct web_request_input){
					   .accept_language = slice_str(cases[i].header) })
				     .browser,
		    cases[i].want);
	assert_int_equal(web_request_language(SLICE("ja_JP.UTF-8")), LANGUAGE_JA);
	assert_int_equal(web_request_language(SLICE("EN")), LANGUAGE_EN);
	assert_int_equal(web_request_language(SLICE("j")), LANGUAGE_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(paths),
		cmocka_unit_test(tokens_have_a_purpose), cmocka_unit_test(slash_behind),
		cmocka_unit_test(old_key_verifies), cmocka_unit_test(one_click),
		cmocka_unit_test(page_forms), cmocka_unit_test(A38_get_has_no_form),
		cmocka_unit_test(broken_multipart), cmocka_unit_test(limits),
		cmocka_unit_test(languages) };
	int failed;

	arena_init(&arena, WEB_ARENA_MAX);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_release(&arena);
	return failed;
}
