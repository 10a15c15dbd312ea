/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: one INI file for all programs, every key also as KAIRAN_SECTION_KEY in the
 * environment. Precedence: default < file < environment. An unknown section or key is an
 * error with file and line. A file that holds a password and can be read by others is refused.
 */
#ifndef KAIRAN_CONFIG_H
#define KAIRAN_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "err.h"

#define CONFIG_DEFAULT_FILE "/etc/kairan/kairan.conf"

struct config {
	char *source_file; /* the file that was read; NULL: none */
	/* all strings below owned, never NULL */
	char *database_url;
	bool database_prepared;
	long database_timeout_s;
	char *redis_url;
	char *keys_file;
	char *log_level;
	bool contain_enable;

	long producer_page;
	long producer_backlog;
	long producer_segment_timeout_s;
	long producer_poll_ms;
	long producer_dead_after_s;
	long producer_expire_unsent_s;
	long producer_resend_after_s;
	long producer_hook_timeout_s;
	char *producer_metrics_listen;

	char *dispatcher_name;
	char *dispatcher_state_dir;
	long dispatcher_journal_slots;
	long dispatcher_batch;
	char *dispatcher_retry_ladder; /* seconds, comma separated, or with s, m, h */
	long dispatcher_expire_after_s;
	long dispatcher_recheck_s;
	long dispatcher_poll_ms;
	long dispatcher_join_s;
	char *dispatcher_transport; /* relay, mx or ses */
	char *dispatcher_route;	    /* empty: what has none */
	char *dispatcher_resolver;  /* as c-ares takes it; "": those of the system */
	char *dispatcher_metrics_listen;

	char *pace_hour_guard; /* strict, all, off */
	long pace_guard_lead_s;
	long pace_takeover_s;
	char *pace_providers;
	bool pace_group_limits;
	char *pace_account_rate; /* "": none */
	bool pace_adaptive;
	char *pace_routes; /* GROUP=ROUTE, ... */
	char *pace_guard_soft_factor;
	char *pace_route_rates; /* ROUTE=RATE, ... */
	char *pace_mode;	/* together, asap */
	long pace_urgent_share; /* per cent */
	long pace_quota_24h;	/* 0: none */
	char *pace_mx_groups;	/* auto, yes, no */
	long pace_mx_wait_s;

	char *relay_host; /* a list: common/relay.h */
	long relay_port;
	char *relay_protocol; /* smtp, lmtp */
	char *relay_tls;      /* off, opportunistic, required, implicit */
	char *relay_tls_name;
	char *relay_tls_ca_file;
	char *relay_tls_cert_file;
	char *relay_tls_key_file;
	bool relay_tls_only_1_3;
	char *relay_auth_file; /* common/auth.h */
	char *relay_source;
	char *relay_ehlo;
	long relay_connections;
	long relay_messages_per_connection;
	long relay_idle_s;
	long relay_connect_timeout_s;
	long relay_command_timeout_s;
	long relay_dot_timeout_s;
	bool relay_pipelining;
	bool relay_next_behind_dot;
	bool relay_chunking;
	char *relay_ses_configuration_set;
	bool relay_ses_tags;

	long mx_port;
	char *mx_source;       /* "ADDRESS NAME, ADDRESS NAME" */
	char *mx_source_rates; /* "ADDRESS=RATE, ADDRESS=SCHEDULE@DAY" */
	long mx_connections_per_source;
	long mx_connections;
	long mx_connections_per_destination;
	long mx_messages_per_connection;
	long mx_idle_s;
	long mx_connect_timeout_s;
	char *mx_tls; /* off, opportunistic */
	bool mx_mta_sts;
	char *mx_dane; /* no, yes, trusted */
	long mx_sts_port;
	char *mx_ca_file;
	bool mx_private;
	long mx_waiting;
	long mx_waiting_per_destination;
	long mx_patience_s;
	long mx_rest_s, mx_longest_rest_s;

	char *ses_region;
	char *ses_endpoint;
	char *ses_ca_file;
	char *ses_configuration_set;
	char *ses_identity_arn;
	char *ses_feedback_address;
	char *ses_tenant;
	char *ses_price_per_1000;
	char *ses_price_date;
	long ses_rate;
	long ses_connections;
	long ses_connect_timeout_s;
	long ses_timeout_s;
	long ses_idle_s;

	char *message_id_domain;
	char *message_sender_id;

	char *scan_clamd;

	char *dkim_dir;
	char *dkim_also;
	long dkim_threads;
	long dkim_expire_s;

	char *feedback_domain;
	char *feedback_lmtp_listen;
	char *feedback_http_listen;
	char *feedback_http_path;
	char *feedback_maildir;
	char *feedback_mbox;
	char *feedback_sns_topics;
	bool feedback_sns_require_v2;
	char *feedback_sns_cert_dir;
	char *feedback_sns_ca_file;
	char *feedback_sns_subjects;
	long feedback_batch;
	long feedback_batch_ms;
	char *feedback_metrics_listen;

	char *sendmail_stream;
	long sendmail_max_bytes;
	long sendmail_keep_days;
	char *web_base;
	char *web_language;
	char *web_words;
	char *web_from_address;
	char *web_from_name;
	bool web_address_page;
	long web_confirm_days;
	char *web_machines;

	long retention_send_days;
	long retention_event_days;
	long retention_kept_days;

	char *webhook_path;
	char *webhook_keys_file;
	long webhook_window_s;
	long webhook_rate_per_s;

	char *smtp_listen;
	char *smtp_tls_cert_file;
	char *smtp_tls_key_file;
	bool smtp_tls_required;
	char *smtp_rules_file;
	char *smtp_allow;
	char *smtp_deny;
	long smtp_connections;
	long smtp_connections_per_ip;
	long smtp_idle_s;
	long smtp_session_s;
	long smtp_size_kb;

	char *reply_maildir;
	char *reply_forward_to;
	char *reply_relay;
	char *reply_ca_file;

	char *sqs_queue_url;
	char *sqs_region;
	char *sqs_endpoint;
	char *sqs_ca_file;
	long sqs_wait_s;
	long sqs_visibility_s;
	bool sqs_accept_unsigned;
	long sqs_poison_after;

	char *s3_buckets;
	char *s3_region;
	char *s3_endpoint;
	char *s3_ca_file;

	char *postfix_log_file;
	char *postfix_log_state_file;
	char *postfix_log_forwarders;

	char *mailbox_url;
	char *mailbox_user;
	char *mailbox_password_file;
	char *mailbox_folder;
	char *mailbox_after;
	bool mailbox_tls;
	char *mailbox_ca_file;
	long mailbox_poll_s;
};

/*
 * Fills c from defaults, file and environment. path NULL: KAIRAN_CONFIG, else
 * CONFIG_DEFAULT_FILE when it exists, else no file. 0, or -1 with err (file:line and what to
 * do); c must be released either way.
 */
int config_load(struct config *c, const char *path, struct err *err) MUST_CHECK;
void config_release(struct config *c);

/* Defaults alone, without file and environment; and one value over them, key "section.name". For what
 * shall not depend on the host, like a simulation. As config_load(). */
int config_defaults(struct config *c, struct err *err) MUST_CHECK;
int config_set(struct config *c, const char *key, const char *value, struct err *err) MUST_CHECK;

/* key: "section.name"; values as text, "(hidden)" for those with a password. */
typedef void config_changed(
    void *ctx, const char *key, const char *from, const char *to, bool is_live);

/*
 * Compares both and tells of every key that differs. Those named in live ("section.name") are
 * exchanged between c and fresh; pointers into their old texts are good until fresh is released.
 */
void config_take(struct config *c, struct config *fresh, const char *const *live, size_t count,
    config_changed *told, void *ctx);

/* The commented sample file with every key, its default and its help. */
void config_print_sample(FILE *out);

/* The value of every key as it is now, secrets hidden: `kairan config`. */
void config_print(const struct config *c, FILE *out);

#endif
