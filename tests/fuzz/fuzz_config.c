/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the configuration file: refused with a reason, or every text is set and numbers
 * are within their limits when it is printed. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("config", MFD_CLOEXEC);
	static struct config config;
	struct err err = { 0 };
	char path[40];
	FILE *out;

	if (fd < 0 || fchmod(fd, 0600) < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (config_load(&config, path, &err) == 0) {
		out = fopen("/dev/null", "we");
		assert(out != NULL && config.relay_ehlo[0] != '\0');
		config_print(&config, out);
		(void)fclose(out);
	} else {
		assert(err.msg[0] != '\0');
	}
	config_release(&config);
	close(fd);
	return 0;
}
