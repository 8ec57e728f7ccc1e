package job

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const below = 40
		draw := func(name string) map[int]bool {
			return rapid.MapOf(rapid.IntRange(0, below-1), rapid.Just(true)).Draw(t, name)
		}
		a, b := draw("a"), draw("b")
		x := indexes(nil).with(slices.Collect(maps.Keys(a))...)
		y := indexes(nil).with(slices.Collect(maps.Keys(b))...)
		both, either := 0, maps.Clone(a)
		for i := range b {
			if a[i] {
				both++
			}
			either[i] = true
		}
		u := x.union(y)
		if x.count() != len(a) || u.count() != len(either) || x.common(y) != both {
			t.Fatalf("%v and %v: counts %d, %d, %d", x, y, x.count(), u.count(), x.common(y))
		}
		if back := parseIndexes(u.String(), below); !slices.Equal(back, u) {
			t.Fatalf("%v is written %q and read %v", u, u.String(), back)
		}
		n := rapid.IntRange(0, below).Draw(t, "n")
		missing := u.missing(n, below)
		if len(missing) != min(n, below-len(either)) || !slices.IsSorted(missing) {
			t.Fatalf("missing of %v: %v", u, missing)
		}
		for i := range below {
			if u.has(i) != either[i] || (either[i] && slices.Contains(missing, i)) {
				t.Fatalf("index %d of %v", i, u)
			}
		}
	})
}

func TestParseIndexes(t *testing.T) {
	tests := []struct {
		text  string
		below int
		want  string
	}{
		{"", 5, ""}, {"1", 5, "1"}, {"1,2", 5, "1,2"}, {"1-3,4", 9, "1-4"}, {"1-7", 5, "1-4"}, {"7", 5, ""}, {"x,2,y-4,3-z", 9, "2"}, {"3,1", 9, "1,3"},
	}
	for _, tt := range tests {
		if got := parseIndexes(tt.text, tt.below).String(); got != tt.want {
			t.Errorf("%q below %d: %q", tt.text, tt.below, got)
		}
	}
}
