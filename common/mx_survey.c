/* SPDX-License-Identifier: Apache-2.0 */
/* mx_survey: see mx_survey.h. A loop of its own, WINDOW questions at a time. */
#include "mx_survey.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "dnsloop.h"
#include "mx.h"

#define WINDOW 100 /* a resolver drops what comes faster than it works */
#define HOSTS_TEXT ((size_t)MX_HOSTS_MAX * (DNS_NAME_MAX + 1))

struct survey {
	uv_loop_t loop;
	uv_timer_t timer;
	struct dnsloop *dns;
	struct mx_survey_item *items;
	size_t count, next, under_way;
	bool asking, ended;
};

struct asked {
	struct survey *s;
	struct mx_survey_item *item;
};

static char *
first_hosts(const struct mx_plan *plan)
{
	struct buf text;
	char *hosts;

	buf_init(&text, HOSTS_TEXT);
	for (size_t i = 0; plan->verdict == MX_HOSTS && !plan->implicit && i < plan->count &&
	     plan->hosts[i].preference == 0;
	     i++)
		buf_printf(&text, "%s%s", i > 0 ? " " : "", plan->hosts[i].name);
	hosts = buf_failed(&text) ? NULL : strdup(buf_str(&text));
	buf_release(&text);
	return hosts;
}

static void ask_more(struct survey *s);

static void
on_answer(void *ctx, const struct dns_answer *answer)
{
	struct asked *a = ctx;
	struct survey *s = a->s;
	struct mx_plan plan;

	if (answer->status != DNS_FAILED) {
		mx_decide(&plan, a->item->domain, answer, NULL, 0);
		a->item->hosts = first_hosts(&plan);
		a->item->keep_s = answer->ttl_s;
	}
	free(a);
	s->under_way--;
	if (!s->asking)
		ask_more(s);
}

/* An answer may come before the question returns, so this is no recursion. */
static void
ask_more(struct survey *s)
{
	s->asking = true;
	while (!s->ended && s->under_way < WINDOW && s->next < s->count) {
		struct asked *a = calloc(1, sizeof(*a));

		if (a == NULL)
			break;
		*a = (struct asked){ s, &s->items[s->next++] };
		s->under_way++;
		dnsloop_ask(s->dns, a->item->domain, DNS_MX, on_answer, a);
	}
	s->asking = false;
	if (s->under_way == 0)
		uv_stop(&s->loop);
}

static void
on_time(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

int
mx_survey(struct mx_survey_item *items, size_t count, const char *server, uint64_t longest_ms,
    struct err *err)
{
	struct survey s = { .items = items, .count = count };
	int result = 0;

	if (count == 0)
		return 0;
	if (uv_loop_init(&s.loop) != 0)
		return err_set(err, "no memory for an event loop");
	(void)uv_timer_init(&s.loop, &s.timer);
	s.dns = dnsloop_new(&s.loop, server, err);
	if (s.dns == NULL) {
		result = -1;
	} else {
		(void)uv_timer_start(&s.timer, on_time, longest_ms, 0);
		ask_more(&s);
		if (s.under_way > 0)
			(void)uv_run(&s.loop, UV_RUN_DEFAULT);
		s.ended = true;
		dnsloop_stop(s.dns);
	}
	uv_close((uv_handle_t *)&s.timer, NULL);
	while (uv_loop_close(&s.loop) == UV_EBUSY)
		(void)uv_run(&s.loop, UV_RUN_DEFAULT);
	dnsloop_free(s.dns);
	return result;
}
