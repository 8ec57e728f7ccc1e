package schedule

import (
	"fmt"
	"slices"
	"time"

	"github.com/pintle-dev/pintle/core/backup"
)

// Keep says which backups stay: the newest Last ones, and the newest one of each of as many
// hours, days, weeks, months and years that have any. A zero value keeps all.
type Keep struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int
}

// none says that nothing is to be removed.
func (k Keep) none() bool { return k == Keep{} }

// Obsolete are the backups of list that a policy does not keep. The newest one always stays.
func (k Keep) Obsolete(list []backup.Named, zone *time.Location) []backup.Named {
	if k.none() {
		return nil
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b backup.Named) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return int(min(max(int64(b.Revision)-int64(a.Revision), -1), 1)) //nolint:gosec // revisions are below 2^63
	})
	rules := []struct {
		left   int
		period func(time.Time) string
		seen   string
	}{
		{left: k.Last, period: nil},
		{left: k.Hourly, period: func(t time.Time) string { return t.Format("2006-01-02 15 -0700") }},
		{left: k.Daily, period: func(t time.Time) string { return t.Format(time.DateOnly) }},
		{left: k.Weekly, period: func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, w) }},
		{left: k.Monthly, period: func(t time.Time) string { return t.Format("2006-01") }},
		{left: k.Yearly, period: func(t time.Time) string { return t.Format("2006") }},
	}
	var out []backup.Named
	for i, b := range list {
		stays := i == 0
		for j := range rules {
			r := &rules[j]
			if r.left == 0 {
				continue
			}
			if r.period != nil {
				period := r.period(b.Created.In(zone))
				if period == r.seen {
					continue // a newer one stands for it
				}
				r.seen = period
			}
			r.left--
			stays = true
		}
		if !stays {
			out = append(out, b)
		}
	}
	return out
}
