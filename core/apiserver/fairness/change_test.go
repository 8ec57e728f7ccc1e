package fairness_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
)

const (
	levels  = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"
	schemas = "flowschemas.flowcontrol.apiserver.k8s.io"
)

func (b *bench) remove(bucket, name string) {
	b.t.Helper()
	if _, err := b.store.Write(context.Background(), store.Write{Key: store.Key(bucket + "//" + name), Delete: true, Expect: store.Any}); err != nil {
		b.t.Fatal(err)
	}
}

// take admits requests until one is refused, at most limit.
func (b *bench) take(a *auth.Attributes, limit int) (held []fairness.Ticket) {
	b.t.Helper()
	for len(held) < limit {
		tk, err := b.c.Admit(b.t.Context(), a, 1)
		if errors.Is(err, fairness.ErrRejected) {
			return held
		}
		if err != nil {
			b.t.Fatal(err)
		}
		held = append(held, tk)
	}
	return held
}

func release(held []fairness.Ticket) {
	for i := range held {
		held[i].Release()
	}
}

func refusing(lend int32) flowcontrolv1.LimitedPriorityLevelConfiguration {
	return flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: ptr[int32](10), LendablePercent: ptr(lend),
		LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject}}
}

// eventually polls what the controller comes to by itself.
func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s did not come about", what)
		}
	}
}

// Seats that requests hold while their level becomes exempt, or limited again, are counted
// once: no other level gets more than there are.
func TestALevelThatBecomesExemptLeavesNoSeats(t *testing.T) {
	b := start(t, 20, time.Minute)
	changed, other := b.only("changed", refusing(100), ""), b.only("other", refusing(100), "")
	held := b.take(changed, 8)
	exempt := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "changed"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{Type: flowcontrolv1.PriorityLevelEnablementExempt, Exempt: &flowcontrolv1.ExemptPriorityLevelConfiguration{}}}
	b.put(levels, "changed", exempt)
	b.eventually("the level is exempt", func() bool {
		many := b.take(changed, 50)
		release(many)
		return len(many) == 50
	})
	release(held)
	all := 0.0
	for _, l := range []string{"other", "catch-all", "changed"} {
		all += b.gauge("apiserver_flowcontrol_nominal_limit_seats", l)
	}
	want := int(max(all, 20) - b.gauge("apiserver_flowcontrol_nominal_limit_seats", "catch-all"))
	held = b.take(other, 100)
	if len(held) != want {
		t.Errorf("%d seats beside those of catch-all, want %d", len(held), want)
	}
	release(held)
	held = b.take(changed, 3)
	b.only("changed", refusing(100), "") // limited again
	release(held)
	if n := b.gauge("apiserver_flowcontrol_current_executing_seats", "changed"); n != 0 {
		t.Errorf("%v seats in use by nobody", n)
	}
}

// A level that is deleted serves nobody new, however busy it is, and is gone with its last
// request.
func TestADeletedLevelIsGoneWithItsLastRequest(t *testing.T) {
	b := start(t, 20, time.Minute)
	a := b.only("busy", refusing(0), "")
	held := b.take(a, 2)
	b.remove(levels, "busy")
	b.until(a, "") // by catch-all, of which nothing is stored
	release(held)
	b.eventually("the level is gone", func() bool {
		return b.gauge("apiserver_flowcontrol_nominal_limit_seats", "busy") == -1 && b.gauge("apiserver_flowcontrol_current_executing_requests", "busy") == -1
	})
	held = b.take(a, 100)
	defer release(held)
	if len(held) != 20 {
		t.Errorf("%d seats of 20 after the only other level is gone", len(held))
	}
}

// A request that waits no more makes room for those behind it.
func TestWhoWaitsBehindARequestThatLeaves(t *testing.T) {
	b := start(t, 10, time.Minute)
	a := b.only("queue", flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: ptr[int32](5), BorrowingLimitPercent: ptr[int32](0),
		LimitResponse: queuing(1, 1, 10)}, "")
	held := b.take(a, 4) // of 5
	defer release(held)
	ctx, leave := context.WithCancel(t.Context())
	wide := make(chan error, 1)
	go func() {
		_, err := b.c.Admit(ctx, a, 2)
		wide <- err
	}()
	b.waiting("queue", 1)
	narrow := make(chan error, 1)
	go func() {
		tk, err := b.c.Admit(t.Context(), a, 1)
		tk.Release()
		narrow <- err
	}()
	b.waiting("queue", 2)
	leave()
	if err := <-wide; !errors.Is(err, fairness.ErrRejected) {
		t.Error(err)
	}
	select {
	case err := <-narrow:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("there is a seat, and it waits on")
	}
}

// Schemas that come and go leave no series.
func TestSeriesOfDeletedSchemas(t *testing.T) {
	b := start(t, 20, time.Minute)
	for i := range 3 {
		name := fmt.Sprintf("schema-%d", i)
		a := b.only(name, refusing(0), "")
		release(b.take(a, 100))
		b.remove(schemas, name)
		b.remove(levels, name)
	}
	b.eventually("no series of deleted schemas", func() bool { return b.series("flow_schema", "schema-") == 0 })
	if b.series("flow_schema", "catch-all") == 0 {
		t.Error("the series of catch-all are gone, too")
	}
}

// series counts those with a label that begins with a text.
func (b *bench) series(label, begins string) int {
	families, err := b.reg.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if v := l.GetValue(); l.GetName() == label && len(v) >= len(begins) && v[:len(begins)] == begins {
					n++
				}
			}
		}
	}
	return n
}
