/* SPDX-License-Identifier: Apache-2.0 */
/* sim_relay: the other end of a stream of sim_uv: an SMTP server that notes what it took. */
#ifndef KAIRAN_SIM_RELAY_H
#define KAIRAN_SIM_RELAY_H

#include "sim.h"

struct sim_connection;
struct sim_handle;

struct sim_connection *sim_relay_connect(struct sim_process *p, struct sim_handle *handle);
/* The client closes, or its process ends: what it wrote may still arrive. */
void sim_relay_close(struct sim_connection *c);
/* The client can know that nothing more arrives. */
bool sim_relay_is_broken(const struct sim_connection *c);
void sim_relay_write(struct sim_connection *c, const char *bytes, size_t n);

/* To the client: bytes, or NULL for the end (n: 0 orderly, 1 reset). In its fiber. */
void sim_uv_read(struct sim_handle *h, const char *bytes, size_t n);

#endif
