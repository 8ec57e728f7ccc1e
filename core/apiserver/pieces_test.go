package apiserver_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestLongListIsOneSnapshot lists more objects than are read at once, of which two far from each
// other are updated in turn meanwhile: no list may show the second one ahead of the first.
func TestLongListIsOneSnapshot(t *testing.T) {
	a := newAPI(t)
	const n = 1300
	object := func(i, value int) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c%04d"},"data":{"value":"%d"}}`, i, value)
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < n; i += 16 {
				if r := a.do("POST", cms, object(i, 0)); r.code != 201 {
					t.Errorf("create: %d %s", r.code, r.body)
				}
			}
		})
	}
	wg.Wait()
	done := make(chan struct{})
	wg.Go(func() {
		for value := 1; ; value++ {
			select {
			case <-done:
				return
			default:
			}
			for _, i := range []int{0, n - 1} {
				if r := a.do("PUT", fmt.Sprintf("%s/c%04d", cms, i), object(i, value)); r.code != 200 {
					t.Errorf("update: %d %s", r.code, r.body)
					return
				}
			}
		}
	})
	for range 20 {
		list := a.must(200, "GET", cms, "").object(t)
		items, _ := list["items"].([]any)
		if len(items) != n {
			t.Fatalf("%d objects, want %d", len(items), n)
		}
		revision, err := strconv.Atoi(fmt.Sprint(at(list, "metadata.resourceVersion")))
		if err != nil {
			t.Fatal(err)
		}
		last := ""
		for _, item := range items {
			name := fmt.Sprint(at(item, "metadata.name"))
			if name <= last {
				t.Fatalf("%s follows on %s", name, last)
			}
			last = name
			if rv, err := strconv.Atoi(fmt.Sprint(at(item, "metadata.resourceVersion"))); err != nil || rv > revision {
				t.Fatalf("%s is at %d in a list at %d: %v", name, rv, revision, err)
			}
		}
		first, errFirst := strconv.Atoi(fmt.Sprint(at(items[0], "data.value")))
		second, errSecond := strconv.Atoi(fmt.Sprint(at(items[n-1], "data.value")))
		if errFirst != nil || errSecond != nil || second > first || first > second+1 {
			t.Fatalf("the first object has %d and the last %d: %v %v", first, second, errFirst, errSecond)
		}
	}
	close(done)
	wg.Wait()
	// Forms that need the whole have the whole.
	if text := string(a.must(200, "GET", cms, "", "Accept", "application/yaml").body); strings.Count(text, "kind: ConfigMap\n") != n {
		t.Errorf("YAML has %d objects", strings.Count(text, "kind: ConfigMap\n"))
	}
}
