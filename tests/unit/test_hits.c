/* SPDX-License-Identifier: Apache-2.0 */
/* machine and hits: the rules and their file, bursts of links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "embed.h"
#include "hits.h"

static struct arena arena;
static struct machine_rules rules;

static void
judged(const char *agent, const char *purpose, bool is_head, enum machine_who who, const char *why)
{
	struct machine_request r = { slice_str(agent), slice_str(purpose), is_head };
	struct machine_verdict v = machine_judge(&rules, &r);

	assert_string_equal(v.why, why);
	assert_int_equal(v.who, who);
}

static void
ours(void **state)
{
	struct err err = { 0 };
	const char *firefox =
	    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

	(void)state;
	rules = (struct machine_rules){ 0 };
	assert_int_equal(
	    machine_rules_parse(&rules, slice_str(embed_feedback_data_machines_tsv), &arena, &err),
	    0);
	assert_int_equal(rules.soon_s, 5);
	assert_int_equal(rules.burst_links, 3);
	assert_int_equal(rules.burst_s, 10);
	judged(firefox, "", false, WHO_PERSON, "none");
	judged(firefox, "", true, WHO_MACHINE, "head");
	judged(firefox, "prefetch;prerender", false, WHO_MACHINE, "prefetch");
	judged("", "", false, WHO_MACHINE, "no_agent");
	judged("Mozilla/5.0", "", false, WHO_MACHINE, "apple_mpp");
	judged("Mozilla/5.0 (via ggpht.com GoogleImageProxy)", "", false, WHO_PROXY, "gmail_proxy");
	judged("curl/7.88.1", "", false, WHO_MACHINE, "library");
	judged("Mozilla/5.0 (compatible; Googlebot/2.1)", "", false, WHO_MACHINE, "bot");
}

static void
own_file(void **state)
{
	struct err err = { 0 };
	const char *const bad[] = { "x", "agent-is\ta\tmachine\tb", "agent-is\t\tmachine\tb\tc",
		"agent-none\tx\tmachine\tb\tc", "agent-has\ta\tghost\tb\tc",
		"soon\tx\tmachine\tb\tc", "soon\t9999\tmachine\tb\tc", "burst\t1/5\tmachine\tb\tc",
		"burst\t3\tmachine\tb\tc", "agent-has\ta\tmachine\tb\t" };

	(void)state;
	rules = (struct machine_rules){ 0 };
	assert_int_equal(
	    machine_rules_parse(&rules,
		SLICE(
		    "# mine\r\n\nsoon\t0\tmachine\tsoon\tme\nagent-has\tcurl\tperson\tmine\tme\n"),
		&arena, &err),
	    0);
	assert_int_equal(
	    machine_rules_parse(&rules, slice_str(embed_feedback_data_machines_tsv), &arena, &err),
	    0);
	assert_int_equal(rules.soon_s, 0); /* the first counts */
	judged("curl/7", "", false, WHO_PERSON, "mine");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct machine_rules r = { 0 };

		assert_int_equal(machine_rules_parse(&r, slice_str(bad[i]), &arena, &err), -1);
		assert_int_equal(memcmp(err.msg, "line 1: ", 8), 0);
	}
}

static struct hits_entry
entry(uint32_t send, char link, int64_t ms)
{
	struct hits_entry e = { .hit = { .token = { 1, send, 1 },
				    .is_click = link != '\0',
				    .link = { link },
				    .verdict = { WHO_PERSON, "none" },
				    .at_us = ms * 1000 },
		.count = 1 };

	return e;
}

static void
bursts(void **state)
{
	struct machine_rules r = { .burst_links = 3, .burst_s = 10 };
	struct hits_entry e[] = { entry(1, 'a', 0), entry(1, 'b', 9000), entry(1, 'c', 19500),
		entry(1, 'd', 18000), entry(1, '\0', 18000), entry(2, 'a', 0), entry(2, 'a', 10),
		entry(2, 'b', 20), entry(3, 'a', 0), entry(3, 'b', 0), entry(3, 'c', 10001),
		entry(4, 'a', 0), entry(4, 'b', 0), entry(5, 'c', 0) };
	unsigned machines[6] = { 0 };

	(void)state;
	hits_judge_bursts(e, sizeof(e) / sizeof(e[0]), &r);
	for (size_t i = 0; i < sizeof(e) / sizeof(e[0]); i++) {
		machines[e[i].hit.token.send] += e[i].hit.verdict.who == WHO_MACHINE;
		if (e[i].hit.token.send == 1 && e[i].hit.link[0] == 'a')
			assert_int_equal(e[i].hit.verdict.who, WHO_PERSON);
	}
	assert_int_equal(machines[1], 0); /* b to c are 10.5 seconds */
	assert_int_equal(machines[2], 0); /* the same link twice is one link */
	assert_int_equal(machines[3], 0);
	assert_int_equal(machines[4] + machines[5], 0);
	e[0] = entry(9, 'a', 0);
	e[1] = entry(9, 'c', 5000);
	e[2] = entry(9, '\0', 5000);
	e[3] = entry(9, 'b', 10000);
	hits_judge_bursts(e, 4, &r);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(e[i].hit.verdict.why, e[i].hit.is_click ? "burst" : "none");
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, (size_t)1 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ours), cmocka_unit_test(own_file),
		cmocka_unit_test(bursts) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
