/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_fit: see campaign_fit.h. */
#include "campaign_fit.h"

#include "campaign_lookup.h"
#include "campaign_size.h"

int
campaign_fit_mail(struct cli *cli, const struct campaign_mail *mail, const char *where)
{
	struct err err = { 0 };

	if (mail->unread_key.msg[0] != '\0')
		fprintf(stderr,
		    "kairan: whether mail of this stream is signed is not known here (only what is "
		    "not can go as its ses_content says): %s\n",
		    mail->unread_key.msg);
	if (mail->unfit.msg[0] != '\0')
		return cli_fail(cli, EXIT_USAGE, "%s%s", where, mail->unfit.msg);
	if (campaign_size_is_too_large(&cli->config, mail->eml.len, &err))
		return cli_fail(cli, EXIT_USAGE, "%s%s", where, err.msg);
	return EXIT_DONE;
}

/* What else is wrong with it is not asked here: the sample may lack what the dispatcher has. */
static int
compose_and_look(struct cli *cli, struct campaign_source *source)
{
	struct campaign_mail mail;
	struct err err = { 0 };
	int code = EXIT_DONE;

	if (campaign_compose(&mail, source, &cli->config, SLICE(""), NULL, NULL, &err) != 0)
		fprintf(stderr, "kairan: %s not checked: %s\n",
		    source->ses_content != SES_CONTENT_RAW ? "ses_content and size are"
							   : "the size is",
		    err.msg);
	else
		code = campaign_fit_mail(cli, &mail, "");
	campaign_mail_release(&mail);
	return code;
}

int
campaign_fit(struct cli *cli, struct db *db, const char *name)
{
	struct campaign_source source;
	int found = campaign_source_fetch(&source, db, name), code = EXIT_DONE;

	if (found > 0)
		found = campaign_lookup_stream(db, &source);
	if (found < 0)
		code = cli_db_failed(cli, db, "reading the campaign");
	else if (found > 0)
		code = compose_and_look(cli, &source);
	campaign_source_release(&source);
	return code;
}
