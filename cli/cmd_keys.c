/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_keys: the secret keys of tokens (return paths, links): `kairan keys list`, `kairan keys rotate`.
 * The first key of the file signs, all of them verify (token.h).
 */
#include "cli.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "secret.h"
#include "token.h"

static const char *
state_of(const struct token_keys *keys, unsigned i)
{
	return i == 0 ? "signs" : keys->id[i] == token_next_id(keys) ? "prepared" : "verifies";
}

/* A few digits by which people see that two hosts have the same key; they tell nothing about it. */
static void
fingerprint(const struct token_keys *keys, unsigned i, char dst[17])
{
	unsigned char hash[EVP_MAX_MD_SIZE] = { 0 };

	(void)EVP_Digest(keys->key[i], TOKEN_KEY_BYTES, hash, NULL, EVP_sha256(), NULL);
	for (size_t k = 0; k < 8; k++)
		(void)snprintf(dst + 2 * k, 3, "%02x", hash[k]);
}

static void
print_list(struct cli *cli, const struct token_keys *keys)
{
	json_t *list = json_array();
	char text[17];

	for (unsigned i = 0; i < keys->count; i++) {
		fingerprint(keys, i, text);
		if (cli->json)
			(void)json_array_append_new(list,
			    json_pack("{s:i, s:s, s:s}", "id", keys->id[i], "state",
				state_of(keys, i), "fingerprint", text));
		else
			printf("%3u  %-8s  %s\n", keys->id[i], state_of(keys, i), text);
	}
	if (cli->json)
		cli_print_json(list);
	else
		json_decref(list);
}

static int
run_list(struct cli *cli, int argc, char **argv)
{
	struct token_keys keys;
	struct err err = { 0 };

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE, "keys list takes no argument");
	if (token_keys_load(&keys, cli->config.keys_file, &err) < 0)
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	print_list(cli, &keys);
	token_keys_release(&keys);
	return EXIT_DONE;
}

/* Place of the prepared key; 0: there is none. */
static unsigned
prepared_at(const struct token_keys *keys)
{
	for (unsigned i = 1; i < keys->count; i++)
		if (keys->id[i] == token_next_id(keys))
			return i;
	return 0;
}

static void
to_front(struct token_keys *keys, unsigned i)
{
	unsigned char key[TOKEN_KEY_BYTES];
	uint8_t id = keys->id[i];

	memcpy(key, keys->key[i], sizeof(key));
	memmove(&keys->id[1], &keys->id[0], i);
	memmove(keys->key[1], keys->key[0], i * (size_t)TOKEN_KEY_BYTES);
	keys->id[0] = id;
	memcpy(keys->key[0], key, sizeof(key));
	OPENSSL_cleanse(key, sizeof(key));
}

/* Makes room by dropping the oldest; its number, or -1 when nothing was dropped. */
static int
drop_oldest(struct token_keys *keys)
{
	if (keys->count < TOKEN_KEYS_MAX)
		return -1;
	keys->count--;
	return keys->id[keys->count];
}

static int
rotate(struct token_keys *keys, bool prepare, int *dropped, struct err *err)
{
	unsigned ready = prepared_at(keys);

	*dropped = -1;
	if (prepare && ready > 0)
		return err_set(err,
		    "key %u is prepared already; when every host has it, run: kairan keys rotate",
		    keys->id[ready]);
	if (ready > 0) {
		to_front(keys, ready);
		return 0;
	}
	*dropped = drop_oldest(keys);
	return token_keys_add(keys, prepare ? 1 : 0, err);
}

static int
run_rotate(struct cli *cli, int argc, char **argv)
{
	bool prepare = false;
	const struct cli_option options[] = { { .name = "prepare", .flag = &prepare }, { 0 } };
	const char *path = cli->config.keys_file;
	struct token_keys keys;
	struct err err = { 0 };
	char text[TOKEN_FILE_MAX];
	int dropped, result;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE, "keys rotate takes no argument");
	if (token_keys_load(&keys, path, &err) < 0)
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	result = rotate(&keys, prepare, &dropped, &err);
	if (result == 0) {
		size_t n = token_keys_print(&keys, text);

		result = secret_replace("key file", path, slice_make(text, n), &err);
		OPENSSL_cleanse(text, sizeof(text));
	}
	if (result == 0)
		print_list(cli, &keys);
	token_keys_release(&keys);
	if (result < 0)
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	if (dropped >= 0)
		fprintf(stderr,
		    "kairan: key %d is gone: return paths and links made with it mean "
		    "nothing any more\n",
		    dropped);
	if (!cli->json)
		fprintf(stderr,
		    "kairan: copy %s to every host, then restart the programs, "
		    "kairan-feedback first\n",
		    path);
	return EXIT_DONE;
}

const struct cli_command cli_keys_commands[] = {
	{ "keys list", "", "show the keys of return paths and links, without their secrets",
	    "States: signs (new tokens), prepared (will sign after the next rotate), verifies "
	    "(old\n"
	    "tokens). Hosts with the same fingerprints have the same keys.\n"
	    "\n"
	    "Example:\n"
	    "  kairan keys list\n",
	    true, run_list },
	{ "keys rotate", "[--prepare]",
	    "sign return paths and links with a new key; old ones stay valid",
	    "On one host: kairan keys rotate, then restart the programs. On several hosts nobody "
	    "may\n"
	    "sign with a key that another one does not know yet: --prepare, copy the file "
	    "everywhere\n"
	    "and restart; then rotate, copy, restart. At most 4 keys are kept: the oldest goes, "
	    "and\n"
	    "with it the unsubscribe links of that time.\n"
	    "\n"
	    "Options:\n"
	    "  --prepare      add a key that verifies only, for now\n"
	    "\n"
	    "Example:\n"
	    "  kairan keys rotate --prepare\n",
	    true, run_rotate },
	{ 0 },
};
