package job

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
)

// span is a range of indexes, both ends included.
type span struct{ first, last int }

// indexes is a set of completion indexes, in order, as ranges that do not touch.
type indexes []span

// parseIndexes reads the form that a Job's status has, such as "1,3-5". What can't be
// read is left out, and what is not below a limit.
func parseIndexes(text string, below int) indexes {
	var list []span
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil || first < 0 {
			continue
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		if last = min(last, below-1); first <= last {
			list = append(list, span{first, last})
		}
	}
	return indexes(nil).union(list)
}

// String is the form that parseIndexes reads.
func (x indexes) String() string {
	var b strings.Builder
	for _, s := range x {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(s.first))
		switch s.last - s.first {
		case 0:
			continue
		case 1:
			b.WriteByte(',')
		default:
			b.WriteByte('-')
		}
		b.WriteString(strconv.Itoa(s.last))
	}
	return b.String()
}

func (x indexes) count() int {
	n := 0
	for _, s := range x {
		n += s.last - s.first + 1
	}
	return n
}

func (x indexes) has(i int) bool {
	at, found := slices.BinarySearchFunc(x, i, func(s span, i int) int {
		switch {
		case s.last < i:
			return -1
		case s.first > i:
			return 1
		}
		return 0
	})
	return found && at < len(x)
}

// union returns what is in either.
func (x indexes) union(y []span) indexes {
	all := slices.Concat([]span(x), y)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var out indexes
	for _, s := range all {
		if n := len(out); n > 0 && s.first <= out[n-1].last+1 {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}

// with adds single indexes.
func (x indexes) with(list ...int) indexes {
	spans := make([]span, len(list))
	for i, n := range list {
		spans[i] = span{n, n}
	}
	return x.union(spans)
}

// common counts what is in both.
func (x indexes) common(y indexes) int {
	n := 0
	for i, j := 0, 0; i < len(x) && j < len(y); {
		n += max(min(x[i].last, y[j].last)-max(x[i].first, y[j].first)+1, 0)
		if x[i].last < y[j].last {
			i++
		} else {
			j++
		}
	}
	return n
}

// missing returns the first n indexes below a limit that are not in x.
func (x indexes) missing(n, below int) []int {
	var out []int
	next := 0
	for _, s := range append(slices.Clone(x), span{below, below}) {
		for ; next < min(s.first, below) && len(out) < n; next++ {
			out = append(out, next)
		}
		next = max(next, s.last+1)
	}
	return out
}

// indexOf returns the completion index of a pod, false if it has none.
func indexOf(p *v1.Pod) (int, bool) {
	n, err := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
	return n, err == nil && n >= 0
}

func indexesOf(pods []*v1.Pod) indexes {
	var list []int
	for _, p := range pods {
		if i, ok := indexOf(p); ok {
			list = append(list, i)
		}
	}
	return indexes(nil).with(list...)
}

// failuresOf is how often the index of a pod has failed before it, by what counts and by
// what a policy ignores.
func failuresOf(p *v1.Pod) (counted, ignored int32) {
	read := func(key string) int32 {
		n, err := strconv.ParseInt(p.Annotations[key], 10, 32)
		if err != nil || n < 0 {
			return 0
		}
		return int32(n)
	}
	return read(batchv1.JobIndexFailureCountAnnotation), read(batchv1.JobIndexIgnoredFailureCountAnnotation)
}
