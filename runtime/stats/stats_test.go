package stats

import (
	"context"
	"testing"
	"time"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

type source map[string]driver.Stats

func (s source) ContainerStats(_ context.Context, id string) (driver.Stats, error) {
	if st, ok := s[id]; ok {
		return st, nil
	}
	return driver.Stats{}, driver.ErrNotFound
}

func TestSummary(t *testing.T) {
	src := source{"a": {At: time.Unix(1, 0), CPUNanos: 5, MemoryUsage: 100, MemoryWorking: 70}, "b": {CPUNanos: 7, MemoryUsage: 10, MemoryWorking: 9}}
	pods := []Pod{{Namespace: "ns", Name: "p", UID: "u", Containers: []driver.Container{{ID: "a", Name: "a"}, {ID: "gone", Name: "gone"}, {ID: "b", Name: "b"}}}}
	sum, err := Summary(context.Background(), "n", t.TempDir(), src, pods)
	if err != nil {
		t.Fatal(err)
	}
	p := sum.Pods[0]
	if p.PodRef.UID != "u" || len(p.Containers) != 2 || *p.CPU.UsageCoreNanoSeconds != 12 || *p.Memory.UsageBytes != 110 || *p.Memory.WorkingSetBytes != 79 {
		t.Errorf("%+v", p)
	}
	if sum.Node.NodeName != "n" || *sum.Node.CPU.UsageCoreNanoSeconds == 0 || *sum.Node.Memory.AvailableBytes == 0 || *sum.Node.Fs.CapacityBytes == 0 {
		t.Errorf("%+v", sum.Node)
	}
}
