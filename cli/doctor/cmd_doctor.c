/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_doctor: `kairan doctor`: which domains, which address, and how it is told. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#include "dkim_store.h"
#include "doctor.h"
#include "doctor_host.h"
#include "doctor_port.h"
#include "doctor_routes.h"
#include "doctor_ses.h"

#define PROBE_DOMAIN "gmail.com"

struct request {
	const char *addresses, *probe, *path_domain;
};

static void
check_domain(
    struct doctor_checks *d, const struct cli *cli, const struct request *q, const char *from)
{
	const struct config *config = &cli->config;
	struct dkim *dkim = NULL;
	struct err err = { 0 };

	if (dkim_store_load(config->dkim_dir, from, config->dkim_also, &dkim, &err) < 0)
		(void)doctor_add(d, "dkim", DOCTOR_FAILED, from, "", "%s", err.msg);
	else if (dkim == NULL)
		(void)doctor_add(d, "dkim", DOCTOR_FAILED, from,
		    "kairan dkim new makes keys (Amazon SES and some relays sign for you: then "
		    "this is "
		    "theirs to do)",
		    "mail from this domain is not signed: no key in %s", config->dkim_dir);
	for (size_t i = 0; dkim != NULL && i < dkim_count(dkim); i++)
		(void)doctor_check_key(d, dkim_at(dkim, i));
	doctor_check_dmarc(d, from, q->path_domain, dkim);
	dkim_free(dkim);
}

/* The envelope's domain, and the hosts that send. */
static void
check_path(struct doctor_checks *d, const struct request *q)
{
	const char *rest = q->addresses;

	if (q->path_domain[0] == '\0')
		(void)doctor_add(d, "mx", DOCTOR_FAILED, "feedback.domain", "set feedback.domain",
		    "there is no domain for return paths: bounces go to the sender's own mailbox");
	else
		doctor_check_mx(d, q->path_domain);
	if (rest == NULL) {
		if (q->path_domain[0] != '\0')
			doctor_check_spf(d, q->path_domain, NULL);
		(void)doctor_add(d, "ptr", DOCTOR_SKIPPED, "sending address",
		    "name the addresses that your relay sends from: --ip ADDRESS,…",
		    "not known which address mail leaves from");
	}
	while (rest != NULL && *rest != '\0') {
		size_t n = strcspn(rest, ",");
		char address[64];

		(void)snprintf(address, sizeof(address), "%.*s", (int)n, rest);
		if (q->path_domain[0] != '\0')
			doctor_check_spf(d, q->path_domain, address);
		doctor_check_ptr(d, address);
		rest += n + (rest[n] == ',');
	}
}

static int
tell(struct cli *cli, const struct doctor_checks *d)
{
	static const char *const colours[] = { "\033[32m", "\033[33m", "\033[31m", "\033[36m" };
	size_t counts[4] = { 0 };
	json_t *list = json_array();

	for (size_t i = 0; i < d->count; i++) {
		const struct doctor_check *c = &d->list[i];

		counts[c->verdict]++;
		if (cli->json) {
			/* text of strangers need not be UTF-8 */
			json_t *found = json_string(c->found), *advice = json_string(c->advice);

			(void)json_array_append_new(list,
			    json_pack("{s:s, s:s, s:s, s:o, s:o}", "check", c->id, "verdict",
				doctor_verdict_name(c->verdict), "subject", c->subject, "found",
				found != NULL ? found : json_string("(not UTF-8)"), "advice",
				advice != NULL ? advice : json_string("")));
			continue;
		}
		printf("%s%-8s%s %-9s ", cli->colour ? colours[c->verdict] : "",
		    doctor_verdict_name(c->verdict), cli->colour ? "\033[0m" : "", c->id);
		cli_put_text(stdout, c->subject);
		fputs(": ", stdout);
		cli_put_text(stdout, c->found);
		if (c->advice[0] != '\0') {
			fputs("\n         ", stdout);
			cli_put_text(stdout, c->advice);
		}
		putchar('\n');
	}
	if (cli->json)
		cli_print_json(json_pack("{s:o, s:I, s:I, s:I, s:I}", "checks", list, "ok",
		    (json_int_t)counts[DOCTOR_OK], "warnings", (json_int_t)counts[DOCTOR_WARNING],
		    "failed", (json_int_t)counts[DOCTOR_FAILED], "skipped",
		    (json_int_t)counts[DOCTOR_SKIPPED]));
	else
		json_decref(list);
	return counts[DOCTOR_FAILED] > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int
check_all(struct cli *cli, struct doctor_checks *d, const struct request *q, int argc, char **argv)
{
	char **names = NULL, domain[256];
	const char **domains;
	struct err err = { 0 };
	size_t count = 0;

	if (argc == 0 && dkim_store_domains(cli->config.dkim_dir, &names, &count, &err) < 0)
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	if (argc == 0 && count == 0) {
		dkim_store_free_domains(names, count);
		return cli_fail(cli, EXIT_USAGE,
		    "name the domain that you send from: kairan doctor example.jp");
	}
	domains = arena_array(&d->arena, count + (size_t)argc + 1, sizeof(*domains));
	for (size_t i = 0; domains != NULL && i < count; i++)
		domains[i] = arena_str(&d->arena, names[i]);
	dkim_store_free_domains(names, count);
	for (int i = 0; domains != NULL && i < argc; i++) {
		if (cli_take_domain(cli, argv[i], domain) != EXIT_DONE)
			return EXIT_USAGE;
		domains[i] = arena_str(&d->arena, domain);
	}
	if (domains == NULL || d->arena.failed)
		return cli_fail(cli, EXIT_FAILED, "no memory");
	domains[count + (size_t)argc] = NULL;
	for (size_t i = 0; domains[i] != NULL; i++)
		check_domain(d, cli, q, domains[i]);
	check_path(d, q);
	doctor_check_relays(d, &cli->config);
	doctor_check_account(d, &cli->config, domains);
	doctor_check_routes(d, &cli->config);
	doctor_check_clocks(d, &cli->config);
	doctor_check_files(d, &cli->config, cli->config_path);
	if (strcmp(q->probe, "no") != 0)
		doctor_check_port25(d, &cli->config, q->probe);
	return EXIT_DONE;
}

static int
run_doctor(struct cli *cli, int argc, char **argv)
{
	struct request q = { .probe = PROBE_DOMAIN, .path_domain = cli->config.feedback_domain };
	const char *server = NULL;
	const struct cli_option options[] = {
		{ .name = "dns", .value_name = "ADDRESS[:PORT]", .value = &server },
		{ .name = "ip", .value_name = "ADDRESS,…", .value = &q.addresses },
		{ .name = "probe", .value_name = "DOMAIN|HOST:PORT|no", .value = &q.probe },
		{ .name = "return-path", .value_name = "DOMAIN", .value = &q.path_domain },
		{ 0 },
	};
	struct doctor_checks *d;
	struct err err = { 0 };
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	d = malloc(sizeof(*d));
	if (d == NULL)
		return cli_fail(cli, EXIT_FAILED, "no memory");
	doctor_checks_init(d);
	if (doctor_open(d, server, &err) < 0)
		code = cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	else
		code = check_all(cli, d, &q, argc, argv);
	if (code == EXIT_DONE)
		code = tell(cli, d);
	doctor_checks_release(d);
	free(d);
	return code;
}

const struct cli_command cli_doctor_commands[] = {
	{ "doctor", "[DOMAIN...]",
	    "check SPF, DKIM, DMARC, MX, PTR, ports, clock and files, and say what to do",
	    "Looks at each domain that you send from (default: those with DKIM keys), at the "
	    "domain of "
	    "the\n"
	    "return path, the sending addresses, the relay, port 25, the clock, and who may read "
	    "and "
	    "change\n"
	    "configuration and keys. Changes nothing.\n"
	    "\n"
	    "Options:\n"
	    "  --ip A,…         the addresses that mail leaves from (those of your relay)\n"
	    "  --return-path D  domain of the return path (default: feedback.domain)\n"
	    "  --dns A[:PORT]   ask this server\n"
	    "  --probe D        whose mail server is called on port 25 (default gmail.com), a\n"
	    "                   HOST:PORT, or no\n"
	    "\n"
	    "Exit code 1 when something failed; warnings do not count.\n"
	    "\n"
	    "Example:\n"
	    "  kairan doctor example.jp --ip 192.0.2.25\n",
	    true, run_doctor },
	{ 0 },
};
