package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock ticks one second per reading.
func clock() func() time.Time {
	t := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return func() time.Time { t = t.Add(time.Second); return t }
}

func write(t *testing.T, path string, cfg WriterConfig, stream, text string) {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = clock()
	}
	w, err := NewWriter(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := NewSplitter(w, stream)
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	w.Close()
}

func read(t *testing.T, path string, o Options) (string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	if err := Read(context.Background(), path, o, nil, &out, &errOut); err != nil {
		t.Fatal(err)
	}
	return out.String(), errOut.String()
}

func ptr[T any](v T) *T { return &v }

func TestFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path, WriterConfig{}, Stdout, "one\ntwo")
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "2026-01-01T00:00:01.000000000Z stdout F one\n2026-01-01T00:00:02.000000000Z stdout P two\n"
	if string(got) != want {
		t.Errorf("file is\n%swant\n%s", got, want)
	}
}

func TestReadOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path, WriterConfig{}, Stdout, "1\n2\n3\n4\n5\n")
	write(t, path, WriterConfig{Now: func() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }}, Stderr, "e\n")
	for _, c := range []struct {
		name     string
		o        Options
		out, err string
	}{
		{"all", Options{}, "1\n2\n3\n4\n5\n", "e\n"},
		{"tail", Options{Tail: ptr(int64(3))}, "4\n5\n", "e\n"},
		{"tail none", Options{Tail: ptr(int64(0))}, "", ""},
		{"tail more than there is", Options{Tail: ptr(int64(99))}, "1\n2\n3\n4\n5\n", "e\n"},
		{"since", Options{Since: time.Date(2026, 1, 1, 0, 0, 4, 0, time.UTC)}, "4\n5\n", "e\n"},
		{"limit", Options{LimitBytes: ptr(int64(3))}, "1\n2", ""},
		{"stream", Options{Stream: Stderr}, "", "e\n"},
		{"timestamps", Options{Timestamps: true, Tail: ptr(int64(1))}, "", "2027-01-01T00:00:00.000000000Z e\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errOut := read(t, path, c.o)
			if out != c.out || errOut != c.err {
				t.Errorf("got %q and %q, want %q and %q", out, errOut, c.out, c.err)
			}
		})
	}
}

// What is written is what is read, however it is cut into writes, lines and files.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprintf("%d.log", n))
		w, err := NewWriter(path, WriterConfig{MaxSize: rapid.Int64Range(100, 60000).Draw(rt, "max"), MaxFiles: 1 << 20})
		if err != nil {
			rt.Fatal(err)
		}
		s := NewSplitter(w, Stdout)
		var all strings.Builder
		for range rapid.IntRange(1, 8).Draw(rt, "writes") {
			piece := rapid.OneOf(
				rapid.StringMatching(`[a-c\n]{0,40}`),
				rapid.Map(rapid.IntRange(0, 40000), func(n int) string { return strings.Repeat("x", n) }),
				rapid.SampledFrom([]string{strings.Repeat("y", MaxLine) + "\n", strings.Repeat("z", MaxLine-1) + "\n"}),
			).Draw(rt, "piece")
			all.WriteString(piece)
			if _, err := io.WriteString(s, piece); err != nil {
				rt.Fatal(err)
			}
		}
		if err := s.Flush(); err != nil {
			rt.Fatal(err)
		}
		w.Close()
		var out bytes.Buffer
		if err := Read(context.Background(), path, Options{}, nil, &out, nil); err != nil {
			rt.Fatal(err)
		}
		if out.String() != all.String() {
			rt.Fatalf("read %d bytes, wrote %d", out.Len(), all.Len())
		}
	})
}

func TestRotationKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	write(t, path, WriterConfig{MaxSize: 500, MaxFiles: 3}, Stdout, text.String())
	files, _ := os.ReadDir(dir)
	if len(files) != 3 {
		t.Errorf("%d files are left, want 3", len(files))
	}
	out, _ := read(t, path, Options{Tail: ptr(int64(20))})
	if want := text.String()[strings.Index(text.String(), "line 80\n"):]; out != want {
		t.Errorf("tail over rotated files gave\n%swant\n%s", out, want)
	}
}

// A line may be lost by a rotation that fails, but not those that come after it.
func TestWritesGoOnAfterAFailedRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w, err := NewWriter(path, WriterConfig{MaxSize: 1, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	line := func(s string) error { return w.WriteLine(Stdout, []byte(s), false) }
	if err := line("one"); err != nil {
		t.Fatal(err)
	}
	// A directory stands where the full file would go.
	if err := os.MkdirAll(path+".20260101-000000.000000000", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := line("lost"); err == nil {
		t.Fatal("the rotation did not fail")
	}
	now = now.Add(time.Second)
	if err := line("two"); err != nil {
		t.Fatalf("after the failure: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := line("late"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "2026-01-01T00:00:01.000000000Z stdout F two\n"; string(got) != want {
		t.Errorf("file is %q, want %q", got, want)
	}
}

func TestFollowAcrossRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w, err := NewWriter(path, WriterConfig{MaxSize: 400, MaxFiles: 1000})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	pr, pw := io.Pipe()
	result := make(chan error, 1)
	go func() {
		err := Read(context.Background(), path, Options{Follow: true}, done, pw, pw)
		pw.Close()
		result <- err
	}()
	buf := make([]byte, 9)
	for i := range 50 {
		want := fmt.Sprintf("line %03d\n", i)
		if err := w.WriteLine(Stdout, []byte(strings.TrimSpace(want)), false); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(pr, buf); err != nil {
			t.Fatal(err)
		}
		if string(buf) != want {
			t.Fatalf("followed %q, want %q", buf, want)
		}
	}
	close(done)
	if rest, _ := io.ReadAll(pr); len(rest) > 0 {
		t.Errorf("followed %q after the end", rest)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}
