# SPDX-License-Identifier: Apache-2.0
#
# One file, three images that the project runs:
#   base    user kairan and the container scripts (makes the secrets)
#   relay   a private Postfix for trying Kairan: real replies, real bounces, nothing leaves it
#   kairan  the four programs; the last stage, so a plain `docker build .` makes it
# No `# syntax=` line and no heredoc: the classic builder must do.

FROM debian:bookworm-slim AS base
RUN groupadd --system --gid 10001 kairan \
	&& useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/kairan \
		--shell /usr/sbin/nologin kairan \
	&& install -d -o kairan -g kairan -m 0700 /var/lib/kairan /secrets/kairan \
		/secrets/owner /secrets/postgres /secrets/redis
COPY tools/compose/secrets.sh tools/compose/run.sh tools/compose/health.sh \
	tools/compose/setup.sh /usr/lib/kairan/
COPY tools/compose/demo /usr/share/kairan/demo
USER kairan
WORKDIR /var/lib/kairan

FROM base AS relay
USER root
RUN apt-get update \
	&& printf 'postfix postfix/main_mailer_type select No configuration\n' | debconf-set-selections \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postfix \
	&& rm -rf /var/lib/apt/lists/* \
	&& install -d -o nobody -g nogroup /var/mail/kairan
COPY tools/compose/relay/main.cf tools/compose/relay/master.cf tools/compose/relay/domains \
	tools/compose/relay/mailboxes tools/compose/relay/access tools/compose/relay/transport \
	/etc/postfix/
WORKDIR /
CMD ["postfix", "start-fg"]

FROM debian:bookworm-slim AS build
COPY tools/deps.sh /tmp/deps.sh
RUN apt-get update \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
		$(bash /tmp/deps.sh --list build) \
	&& rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make -j"$(nproc)" && make install DESTDIR=/out PREFIX=/usr

FROM base AS kairan
USER root
RUN apt-get update \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
		ca-certificates tzdata libpq5 libhiredis0.14 libssl3 libjansson4 libcurl4 libuv1 \
		libmicrohttpd12 libinih1 libidn2-0 libunistring2 libc-ares2 libseccomp2 \
	&& rm -rf /var/lib/apt/lists/*
COPY --from=build /out/ /
USER kairan
ENTRYPOINT ["/usr/lib/kairan/run.sh"]
CMD ["kairan", "--help"]
