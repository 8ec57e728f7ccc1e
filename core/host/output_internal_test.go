package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// However the bytes come in, the last lines are kept and the files stay bounded.
func TestOutputKeepsTheLastLines(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		const limit = 400
		path := filepath.Join(dir, "log")
		_ = os.Remove(path)
		_ = os.Remove(path + ".1")
		o, err := newOutput(path, limit)
		if err != nil {
			t.Fatal(err)
		}
		defer o.close()
		text := strings.Join(rapid.SliceOfN(rapid.StringMatching(`[a-z ]{0,12}`), 0, 450).Draw(t, "lines"), "\n")
		rest := text
		for rest != "" {
			n := rapid.IntRange(1, min(len(rest), 300)).Draw(t, "chunk")
			if _, err := o.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		want := strings.Split(text, "\n")
		if want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		n := rapid.IntRange(1, keptLines).Draw(t, "n")
		want = want[max(0, len(want)-n):]
		got, _ := o.tail(n)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("got %q\nwant %q", got, want)
		}
		for _, p := range []string{path, path + ".1"} {
			if st, err := os.Stat(p); err == nil && st.Size() > limit {
				t.Fatalf("%s has %d bytes", p, st.Size())
			}
		}
	})
}

func TestOutputKeepsTheFirstPanicAndForgetsItAtTheNextStart(t *testing.T) {
	o, err := newOutput(filepath.Join(t.TempDir(), "log"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	_, _ = o.Write([]byte("before\npanic: one\n\ngoroutine 1 [running]:\npanic: two\n"))
	for range 2 * keptLines {
		_, _ = o.Write([]byte("a long trace\n"))
	}
	_, text := o.tail(1)
	if !strings.HasPrefix(text, "panic: one\n\ngoroutine 1 [running]:\npanic: two") {
		t.Errorf("panic: %q", text)
	}
	o.started()
	if _, text := o.tail(1); text != "" {
		t.Errorf("after the next start: %q", text)
	}
	long := strings.Repeat("x", 3*keptLineBytes)
	_, _ = o.Write([]byte(long + "\n"))
	if lines, _ := o.tail(1); len(lines[0]) != keptLineBytes {
		t.Errorf("a line of %d bytes was kept", len(lines[0]))
	}
}

func TestBackoffStartsAtOnceAndGrowsToItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Backoff{
			Initial: time.Duration(rapid.IntRange(0, 1000).Draw(t, "initial")) * time.Millisecond,
			Max:     time.Duration(rapid.IntRange(0, 100).Draw(t, "max")) * time.Second,
		}
		b.complete()
		last := time.Duration(0)
		for failures := range 80 {
			d := b.delay(failures)
			if failures <= 1 && d != 0 {
				t.Fatalf("first restart after %s", d)
			}
			if d < last || d > b.Max {
				t.Fatalf("delay %s after %s at %d failures", d, last, failures)
			}
			last = d
		}
		if last != b.Max {
			t.Fatalf("ends at %s, not at %s", last, b.Max)
		}
	})
}

// A flood is bounded in memory, in the file and in time, and the operator reads what is
// missing; a panic at its end is kept.
func TestOutputSurvivesAFlood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	o, err := newOutput(path, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	line := strings.Repeat("x", 99) + "\n"
	chunk := strings.Repeat(line, 640)
	began := time.Now()
	written := 0
	for time.Since(began) < 300*time.Millisecond {
		n, _ := o.Write([]byte(chunk))
		written += n
	}
	if most := readBurst + int(time.Since(began).Seconds()*readBytesPerSecond) + 2*len(chunk); written > most {
		t.Errorf("%d bytes were taken, more than %d", written, most)
	}
	_, _ = o.Write([]byte("panic: at last\n\ngoroutine 1 [running]:\n"))
	o.note("process 1 ended")
	lines, panicText := o.tail(5)
	if !strings.HasPrefix(panicText, "panic: at last\n\ngoroutine 1") {
		t.Errorf("panic: %q", panicText)
	}
	said := strings.Join(lines, "\n")
	if !strings.Contains(said, "dropped ") || !strings.Contains(said, "goroutine 1 [running]:") || !strings.Contains(said, "process 1 ended") {
		t.Errorf("last lines:\n%s", said)
	}
	st, err := os.Stat(path)
	if err != nil || st.Size() > keptBurst+keptBytesPerSecond+4096 {
		t.Errorf("the file has %d bytes (%v)", st.Size(), err)
	}
	if got := int(o.droppedBytes()) + int(st.Size()); got < written || o.droppedBytes() == 0 {
		t.Errorf("%d dropped and %d kept of %d", o.droppedBytes(), st.Size(), written)
	}
}
