package schedule

import (
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// Plan says when backups are due.
type Plan interface {
	// Next is when the one after the newest is due, which may be long ago. newest is zero where
	// there is none; then the plan begins at now.
	Next(newest, now time.Time) time.Time
}

// Shortest is the least time between two backups.
const Shortest = time.Second

// NewPlan makes a plan of five fields of cron ("0 3 * * *", @daily), in the server's time zone
// or the one that CRON_TZ=… before them names, or of an interval; one of them is given.
func NewPlan(fields string, every time.Duration) (Plan, error) {
	switch {
	case fields != "" && every != 0:
		return nil, errors.New("a schedule and an interval are given; choose one")
	case fields != "":
		s, err := cron.ParseStandard(fields)
		if err != nil {
			return nil, fmt.Errorf("%q is no schedule such as \"0 3 * * *\": %w", fields, err)
		}
		return calendar{s}, nil
	case every < Shortest:
		return nil, fmt.Errorf("an interval of %v is shorter than %v", every, Shortest)
	}
	return interval(every), nil
}

type calendar struct{ schedule cron.Schedule }

// Next implements Plan. Where there is no backup, the first is made when one is due.
func (c calendar) Next(newest, now time.Time) time.Time {
	if newest.IsZero() {
		newest = now
	}
	return c.schedule.Next(newest.In(now.Location()))
}

type interval time.Duration

// Next implements Plan. Where there is no backup, the first is due at once.
func (i interval) Next(newest, now time.Time) time.Time {
	if newest.IsZero() {
		return now
	}
	return newest.Add(time.Duration(i))
}
