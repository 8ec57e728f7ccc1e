package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/core/backup/schedule"
	"github.com/pintle-dev/pintle/core/backup/target"
)

const cluster = "7b0e2f3a"

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestPlans(t *testing.T) {
	now := at("2026-03-04 12:00")
	for _, c := range []struct {
		fields string
		every  time.Duration
		newest string
		want   string
	}{
		{"0 3 * * *", 0, "", "2026-03-05 03:00"},
		{"0 3 * * *", 0, "2026-03-04 03:00", "2026-03-05 03:00"},
		{"0 3 * * *", 0, "2026-03-01 03:00", "2026-03-02 03:00"}, // missed: due at once
		{"@hourly", 0, "2026-03-04 11:30", "2026-03-04 12:00"},
		{"", 6 * time.Hour, "", "2026-03-04 12:00"},
		{"", 6 * time.Hour, "2026-03-04 11:00", "2026-03-04 17:00"},
	} {
		p, err := schedule.NewPlan(c.fields, c.every)
		if err != nil {
			t.Fatal(err)
		}
		var newest time.Time
		if c.newest != "" {
			newest = at(c.newest)
		}
		if got := p.Next(newest, now); !got.Equal(at(c.want)) {
			t.Errorf("%q %v after %q: %v, want %s", c.fields, c.every, c.newest, got, c.want)
		}
	}
	for _, c := range []struct {
		fields string
		every  time.Duration
	}{{"", 0}, {"", -time.Hour}, {"", time.Millisecond}, {"@daily", time.Hour}, {"61 * * * *", 0}, {"nonsense", 0}} {
		if _, err := schedule.NewPlan(c.fields, c.every); err == nil {
			t.Errorf("%q %v was taken", c.fields, c.every)
		}
	}
}

func TestKeep(t *testing.T) {
	var list []backup.Named
	add := func(times ...string) {
		for _, text := range times {
			list = append(list, backup.Named{Name: text, Created: at(text)})
		}
	}
	add("2026-03-04 12:00", "2026-03-04 11:30", "2026-03-04 11:00", "2026-03-04 03:00", "2026-03-03 03:00",
		"2026-03-02 03:00", "2026-03-01 03:00", "2026-02-28 03:00", "2026-02-01 03:00", "2025-12-31 03:00", "2024-12-31 03:00")
	for _, c := range []struct {
		name string
		keep schedule.Keep
		want []string
	}{
		{"all", schedule.Keep{}, []string{"2026-03-04 12:00", "2026-03-04 11:30", "2026-03-04 11:00", "2026-03-04 03:00", "2026-03-03 03:00",
			"2026-03-02 03:00", "2026-03-01 03:00", "2026-02-28 03:00", "2026-02-01 03:00", "2025-12-31 03:00", "2024-12-31 03:00"}},
		{"last", schedule.Keep{Last: 2}, []string{"2026-03-04 12:00", "2026-03-04 11:30"}},
		{"hourly", schedule.Keep{Hourly: 3}, []string{"2026-03-04 12:00", "2026-03-04 11:30", "2026-03-04 03:00"}},
		{"daily", schedule.Keep{Daily: 2}, []string{"2026-03-04 12:00", "2026-03-03 03:00"}},
		{"weekly", schedule.Keep{Weekly: 2}, []string{"2026-03-04 12:00", "2026-03-01 03:00"}},
		{"monthly", schedule.Keep{Monthly: 3}, []string{"2026-03-04 12:00", "2026-02-28 03:00", "2025-12-31 03:00"}},
		{"yearly", schedule.Keep{Yearly: 9}, []string{"2026-03-04 12:00", "2025-12-31 03:00", "2024-12-31 03:00"}},
		{"some", schedule.Keep{Last: 2, Daily: 3, Yearly: 2}, []string{"2026-03-04 12:00", "2026-03-04 11:30", "2026-03-03 03:00", "2026-03-02 03:00", "2025-12-31 03:00"}},
	} {
		gone := c.keep.Obsolete(list, time.UTC)
		var got []string
		for _, b := range list {
			if !slices.Contains(gone, b) {
				got = append(got, b.Name)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s keeps %v, want %v", c.name, got, c.want)
		}
	}
}

// However often old ones are removed: the newest one stays, the last ones do, and no more than
// the sum of a policy's numbers.
func TestKeepBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.IntRange(0, 4)
		k := schedule.Keep{Last: number.Draw(t, "last"), Hourly: number.Draw(t, "hourly"), Daily: number.Draw(t, "daily"),
			Weekly: number.Draw(t, "weekly"), Monthly: number.Draw(t, "monthly"), Yearly: number.Draw(t, "yearly")}
		sum := k.Last + k.Hourly + k.Daily + k.Weekly + k.Monthly + k.Yearly
		var list []backup.Named
		now := at("2026-03-04 12:00")
		for i := range rapid.IntRange(1, 60).Draw(t, "backups") {
			now = now.Add(time.Duration(rapid.IntRange(1, 100*3600).Draw(t, "later")) * time.Second)
			b := backup.Named{Name: fmt.Sprint(i), Created: now, Revision: uint64(i)}
			list = append(list, b)
			for _, gone := range k.Obsolete(list, time.UTC) {
				list = slices.DeleteFunc(list, func(b backup.Named) bool { return b == gone })
			}
			if !slices.Contains(list, b) {
				t.Fatalf("the newest backup was removed")
			}
			if sum > 0 && len(list) > sum {
				t.Fatalf("%+v keeps %d backups", k, len(list))
			}
			if sum > 0 && len(list) < min(i+1, k.Last) {
				t.Fatalf("%+v keeps %d of %d backups", k, len(list), i+1)
			}
		}
	})
}

// lead is a leadership that a test gives and takes.
type lead struct {
	mu      sync.Mutex
	leads   bool
	changed chan struct{}
}

func (l *lead) set(leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leads = leads
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *lead) Leadership() (bool, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leads, ""
}

func (l *lead) LeadershipChanged() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// memory is a target in memory.
type memory struct {
	target.Target
	mu      sync.Mutex
	names   []string
	failing error
}

func (m *memory) List(context.Context) (out []target.Entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.names {
		out = append(out, target.Entry{Name: n})
	}
	return out, m.failing
}

func (m *memory) Remove(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names = slices.DeleteFunc(m.names, func(n string) bool { return n == name })
	return nil
}

func (m *memory) Sweep(context.Context, time.Duration, func(string) bool) error { return nil }

func (m *memory) Create(_ context.Context, name string) (target.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &upload{m, name}, m.failing
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = err
}

// all names that are there.
func (m *memory) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.names)
}

// messages are what a runner has told.
type messages struct {
	mu   sync.Mutex
	text []string
}

func (m *messages) tell(_ context.Context, what string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text = append(m.text, fmt.Sprint(what, err))
}

// take returns what was told since the last call.
func (m *messages) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.text
	m.text = nil
	return t
}

type upload struct {
	m    *memory
	name string
}

func (u *upload) Write(p []byte) (int, error) { return len(p), nil }
func (u *upload) Abort()                      {}
func (u *upload) Commit() error {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	u.m.names = append(u.m.names, u.name)
	return nil
}

type pinned struct{ h backup.Header }

func (p pinned) Header() backup.Header { return p.h }
func (p pinned) Close()                {}
func (p pinned) Write(_ context.Context, w io.Writer) (backup.Summary, error) {
	_, err := w.Write([]byte("x"))
	return backup.Summary{Bytes: 1}, err
}

// A leader makes backups when they are due, goes on where another ended, tells of failures and
// tries again; one that does not lead makes none.
func TestRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &memory{names: []string{"notes.txt", "pintle-deadbeef-20260101T000000Z-1.backup"}}
		var told messages
		server := func() (*lead, context.CancelFunc) {
			plan, err := schedule.NewPlan("", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			l := &lead{changed: make(chan struct{})}
			r := schedule.New(schedule.Config{
				Plan: plan, Keep: schedule.Keep{Last: 3}, Lead: l, Logger: slog.New(slog.DiscardHandler),
				Target:  func() (target.Target, error) { return place, nil },
				Cluster: func(context.Context) string { return cluster },
				Pin: func(context.Context) (schedule.Pinned, error) {
					return pinned{backup.Header{Cluster: cluster, Created: time.Now(), Revision: 5}}, nil
				},
				Tell: told.tell,
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _ = r.Run(ctx) }()
			return l, cancel
		}
		own := func() (n int) {
			for _, name := range place.all() {
				if b, ok := backup.ParseName(name); ok && b.Cluster == cluster {
					n++
				}
			}
			return n
		}
		after := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := own(); got != want {
				t.Fatalf("%d backups, want %d: %v", got, want, place.all())
			}
		}
		a, endA := server()
		b, endB := server()
		defer endB()
		after(2*time.Hour, 0) // nobody leads
		a.set(true)
		after(time.Minute, 1)
		after(time.Hour, 2)
		endA()
		b.set(true)
		after(58*time.Minute, 2)
		after(2*time.Minute, 3)
		after(time.Hour, 3)
		if names := place.all(); len(names) != 5 {
			t.Fatalf("others' files are gone: %v", names)
		}
		told.take()
		place.fail(errors.New("no such bucket"))
		after(2*time.Hour, 3)
		if told := told.take(); len(told) < 4 || len(told) > 12 || !strings.Contains(told[0], "no such bucket") {
			t.Fatalf("told %q", told)
		}
		before := place.all()
		place.fail(nil)
		after(20*time.Minute, 3)
		if slices.Equal(place.all(), before) {
			t.Fatal("no backup after the failures")
		}
		b.set(false)
		before = place.all()
		after(5*time.Hour, 3)
		if !slices.Equal(before, place.all()) {
			t.Fatal("a server that does not lead made a backup")
		}
	})
}
