/* SPDX-License-Identifier: Apache-2.0 */
/* lane_figures: see lane_figures.h. */
#include "lane_figures.h"

#include <math.h>
#include <stdlib.h>

#define S_US 1e6
#define GAP_US (2 * MINUTE_US) /* silence in which no window is counted */
#define SAME 1.02	       /* a rate is made again each minute */

static const int window_s[FIGURES_WINDOWS] = { 1, 10, 60 };

bool
lane_figures_init(struct lane_figures *f, const struct scenario *s)
{
	*f = (struct lane_figures){
		.scenario = s, .second_at = floor(s->start / S_US) * S_US, .last = UINT32_MAX
	};
	f->lanes = calloc(s->lane_count + 1, sizeof(*f->lanes));
	return f->lanes != NULL;
}

void
lane_figures_release(struct lane_figures *f)
{
	free(f->lanes);
	f->lanes = NULL;
}

/* ---- windows ---- */

static void
end_window(struct figures_window *w)
{
	if (w->low > 0 && w->high <= SAME * w->low) {
		w->n++;
		w->sum += w->current;
		w->planned += w->due;
		w->squares += w->current * w->current;
		w->products += w->current * w->due;
		w->planned_squares += w->due * w->due;
		w->peak = fmax(w->peak, w->current / w->due);
	}
	w->current = w->due = w->high = 0;
	w->low = INFINITY;
}

static void
add_second(struct lane_figure *l, double rate, int64_t second)
{
	for (int i = 0; i < FIGURES_WINDOWS; i++) {
		struct figures_window *w = &l->windows[i];

		w->due += rate;
		w->low = fmin(w->low, rate);
		w->high = fmax(w->high, rate);
		if (second % window_s[i] == window_s[i] - 1)
			end_window(w);
	}
}

/* Nothing is known of the windows that are being counted. */
static void
leave_out(struct lane_figures *f)
{
	for (size_t i = 0; i <= f->scenario->lane_count; i++)
		for (int k = 0; k < FIGURES_WINDOWS; k++) {
			f->lanes[i].windows[k].low = 0;
			end_window(&f->lanes[i].windows[k]);
			f->lanes[i].windows[k].low = 0; /* the rest of a window is none */
		}
}

void
lane_figures_pass(struct lane_figures *f, double now)
{
	size_t lanes = f->scenario->lane_count;

	if (now > f->second_at + GAP_US) {
		leave_out(f);
		f->second_at = floor(now / S_US) * S_US;
	}
	while (now >= f->second_at + S_US) {
		int64_t second = (int64_t)(f->second_at / S_US);
		double all = 0;

		for (uint32_t i = 0; i < lanes; i++) {
			double rate = f->rate(f->ctx, i, f->second_at);

			all += rate;
			add_second(&f->lanes[i], rate, second);
		}
		add_second(&f->lanes[lanes], all, second);
		f->second_at += S_US;
	}
}

/* ---- messages ---- */

void
lane_figures_take(struct lane_figures *f, uint32_t lane, double at)
{
	struct lane_figure *l = &f->lanes[lane], *all = &f->lanes[f->scenario->lane_count];
	int away = gauge_distance(&f->scenario->lanes[lane], floor(at / S_US) * S_US);

	lane_figures_pass(f, at);
	l->sent++;
	all->sent++;
	if (away < GAUGE_NEAR)
		l->near_hour[away]++;
	f->run = lane == f->last ? f->run + 1 : 1;
	f->last = lane;
	if (f->run > l->run)
		l->run = f->run;
	for (int i = 0; i < FIGURES_WINDOWS; i++) {
		l->windows[i].current++;
		all->windows[i].current++;
	}
}

/* ---- figures ---- */

/* Variance about what was planned, as far as that came, by the mean. */
double
lane_figures_burst(const struct figures_window *w)
{
	double part = w->planned > 0 ? w->sum / w->planned : 0;

	return w->sum > 0
	    ? fmax(0, w->squares - 2 * part * w->products + part * part * w->planned_squares) /
		w->sum
	    : 0;
}

double
lane_figures_peak_to_mean(const struct figures_window *w)
{
	return w->sum > 0 ? w->peak * w->planned / w->sum : 0;
}
