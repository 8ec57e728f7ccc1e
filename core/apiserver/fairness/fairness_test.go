package fairness_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// bench is a controller with a store that it follows.
type bench struct {
	t     *testing.T
	store *store.Store
	c     *fairness.Controller
	reg   *prometheus.Registry
}

func start(t *testing.T, seats int, wait time.Duration) *bench {
	t.Helper()
	s := storetest.Open(t)
	b := &bench{t: t, store: s, reg: prometheus.NewRegistry()}
	var err error
	if b.c, err = fairness.New(fairness.Config{Seats: seats, QueueWait: wait, Metrics: b.reg}); err != nil {
		t.Fatal(err)
	}
	apiservertest.Run(t, func(ctx context.Context) error { return b.c.Run(ctx, s) })
	return b
}

func (b *bench) put(bucket, name string, v any) {
	b.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.store.Write(context.Background(), store.Write{Key: store.Key(bucket + "//" + name), Data: data, RevisionAt: -1, Expect: store.Any}); err != nil {
		b.t.Fatal(err)
	}
}

// bootstrap writes the objects of every cluster and waits until a request of a user goes by
// the suggested ones.
func (b *bench) bootstrap() {
	b.t.Helper()
	for _, l := range append(bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations...) {
		l = l.DeepCopy()
		l.UID = uid("level-" + l.Name)
		b.put("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", l.Name, l)
	}
	for _, s := range append(bootstrap.MandatoryFlowSchemas, bootstrap.SuggestedFlowSchemas...) {
		s = s.DeepCopy()
		s.UID = uid(s.Name)
		b.put("flowschemas.flowcontrol.apiserver.k8s.io", s.Name, s)
	}
	b.until(user("anne"), "global-default")
}

func uid(name string) types.UID { return types.UID(name) }

// until asks until requests go by a schema.
func (b *bench) until(a *auth.Attributes, schema string) {
	b.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		tk, err := b.c.Admit(context.Background(), a, 1)
		tk.Release()
		if err == nil && tk.SchemaUID == schema {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("requests go by %q, %v, not by %q", tk.SchemaUID, err, schema)
		}
		time.Sleep(time.Millisecond)
	}
}

func user(name string, groups ...string) *auth.Attributes {
	return &auth.Attributes{User: resource.User{Name: name, Groups: append(groups, "system:authenticated")},
		Verb: "get", Version: "v1", Resource: "pods", Namespace: "n", Name: "p"}
}

func TestRequestsGoByTheFirstSchemaThatMatches(t *testing.T) {
	b := start(t, 600, 0)
	if tk, err := b.c.Admit(t.Context(), user("anne"), 1); err != nil {
		t.Fatalf("before anything is read: %v", err)
	} else {
		tk.Release()
	}
	b.bootstrap()
	node := user("system:node:n1", "system:nodes")
	status := *node
	status.Resource, status.Subresource, status.Verb, status.Namespace, status.Name = "nodes", "status", "patch", "", "n1"
	lease := user("system:kube-scheduler")
	lease.Group, lease.Resource, lease.Namespace, lease.Verb = "coordination.k8s.io", "leases", "kube-system", "update"
	probe := &auth.Attributes{User: resource.User{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}, Verb: "get", Path: "/healthz"}
	path := &auth.Attributes{User: resource.User{Name: "anne", Groups: []string{"system:authenticated"}}, Verb: "get", Path: "/metrics"}
	account := func(ns string) *auth.Attributes {
		return user("system:serviceaccount:"+ns+":default", "system:serviceaccounts", "system:serviceaccounts:"+ns)
	}
	for _, c := range []struct {
		name   string
		a      *auth.Attributes
		schema string
	}{
		{"masters", user("admin", "system:masters"), "exempt"},
		{"a probe", probe, "probes"},
		{"a path", path, "global-default"},
		{"a node", node, "system-nodes"},
		{"a node's status", &status, "system-node-high"},
		{"leader election", lease, "system-leader-election"},
		{"the scheduler", user("system:kube-scheduler"), "kube-scheduler"},
		{"an account of the system", account("kube-system"), "kube-system-service-accounts"},
		{"an account", account("team"), "service-accounts"},
		{"a user", user("anne"), "global-default"},
		{"nobody known", &auth.Attributes{User: resource.User{Name: "x", Groups: []string{"other"}}, Verb: "get", Resource: "pods"}, "catch-all"},
	} {
		tk, err := b.c.Admit(t.Context(), c.a, 1)
		if err != nil || tk.SchemaUID != c.schema {
			t.Errorf("%s: went by %q, %v, want %q", c.name, tk.SchemaUID, err, c.schema)
		}
		tk.Release()
	}
	if n := b.gauge("apiserver_flowcontrol_nominal_limit_seats", "workload-low"); n != 245 { // 100 shares of 245
		t.Errorf("workload-low has %v seats of 600", n)
	}
}

// only makes a cluster with one level of its own for a user, and returns the user's request.
func (b *bench) only(name string, limited flowcontrolv1.LimitedPriorityLevelConfiguration, by flowcontrolv1.FlowDistinguisherMethodType) *auth.Attributes {
	b.t.Helper()
	b.put("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", name, &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       flowcontrolv1.PriorityLevelConfigurationSpec{Type: flowcontrolv1.PriorityLevelEnablementLimited, Limited: &limited},
	})
	all := []string{"*"}
	b.put("flowschemas.flowcontrol.apiserver.k8s.io", name, &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid(name)},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: name}, MatchingPrecedence: 50,
			DistinguisherMethod: &flowcontrolv1.FlowDistinguisherMethod{Type: by},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects:      []flowcontrolv1.Subject{{Kind: "Group", Group: &flowcontrolv1.GroupSubject{Name: "of-" + name}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{Verbs: all, APIGroups: all, Resources: all, Namespaces: all, ClusterScope: true}},
			}},
		},
	})
	a := user("user-of-"+name, "of-"+name)
	b.until(a, name)
	return a
}

func ptr[T any](v T) *T { return &v }

func queuing(queues, hand, length int32) flowcontrolv1.LimitResponse {
	return flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeQueue,
		Queuing: &flowcontrolv1.QueuingConfiguration{Queues: queues, HandSize: hand, QueueLengthLimit: length}}
}

func TestALevelRefusesOrQueuesWhatIsAboveItsSeats(t *testing.T) {
	b := start(t, 10, 50*time.Millisecond)
	// catch-all has 5 shares, these two 5 each: 4 seats of 10 when rounded up.
	none := ptr[int32](0)
	refuse := b.only("refuse", flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: ptr[int32](5), BorrowingLimitPercent: none,
		LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject}}, "")
	queue := b.only("queue", flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: ptr[int32](5), BorrowingLimitPercent: none,
		LimitResponse: queuing(1, 1, 2)}, "")
	fill := func(a *auth.Attributes) (tickets []fairness.Ticket) {
		for range 4 {
			tk, err := b.c.Admit(t.Context(), a, 1)
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, tk)
		}
		return tickets
	}
	held := fill(refuse)
	if _, err := b.c.Admit(t.Context(), refuse, 1); !errors.Is(err, fairness.ErrRejected) {
		t.Errorf("the fifth request: %v", err)
	}
	held[0].Release()
	held[0].Release() // once only
	tk, err := b.c.Admit(t.Context(), refuse, 1)
	if err != nil {
		t.Errorf("after a seat is free: %v", err)
	}
	if _, err := b.c.Admit(t.Context(), refuse, 1); !errors.Is(err, fairness.ErrRejected) {
		t.Errorf("a seat was given back twice: %v", err)
	}
	tk.Release()

	held = fill(queue)
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 3)
	for range 2 {
		go func() {
			_, err := b.c.Admit(ctx, queue, 1)
			results <- err
		}()
	}
	b.waiting("queue", 2)
	if _, err := b.c.Admit(ctx, queue, 1); !errors.Is(err, fairness.ErrRejected) {
		t.Errorf("with a full queue: %v", err)
	}
	cancel()
	for range 2 {
		if err := <-results; !errors.Is(err, fairness.ErrRejected) {
			t.Errorf("a cancelled request: %v", err)
		}
	}
	if _, err := b.c.Admit(t.Context(), queue, 1); !errors.Is(err, fairness.ErrRejected) {
		t.Errorf("after waiting too long: %v", err)
	}
	go func() {
		tk, err := b.c.Admit(context.Background(), queue, 3)
		results <- err
		tk.Release()
	}()
	b.waiting("queue", 1)
	for i := range held {
		held[i].Release()
	}
	if err := <-results; err != nil {
		t.Errorf("a wide request, after seats became free: %v", err)
	}
}

func (b *bench) waiting(level string, want float64) {
	b.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got := b.gauge("apiserver_flowcontrol_current_inqueue_requests", level)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%v requests wait in %s, want %v", got, level, want)
		}
		time.Sleep(time.Millisecond)
	}
}

func (b *bench) gauge(name, level string) float64 {
	families, err := b.reg.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == level {
				return m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func TestSeatsAreLentAndComeBack(t *testing.T) {
	b := start(t, 20, time.Minute)
	limited := func(lend int32) flowcontrolv1.LimitedPriorityLevelConfiguration {
		return flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: ptr[int32](5), LendablePercent: ptr(lend), LimitResponse: queuing(4, 1, 100)}
	}
	// With catch-all's 5 shares each has 7 seats; generous lends all, proud none.
	generous, proud := b.only("generous", limited(100), ""), b.only("proud", limited(0), "")
	greedy := 0
	var held []fairness.Ticket
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		tk, err := b.c.Admit(ctx, proud, 1)
		cancel()
		if err != nil {
			break
		}
		greedy++
		held = append(held, tk)
	}
	if greedy != 14 { // all but catch-all's 7
		t.Errorf("one busy level got %d seats of 21", greedy)
	}
	// generous has to wait for what it has lent, and is served first.
	got := make(chan error, 1)
	go func() {
		tk, err := b.c.Admit(context.Background(), generous, 1)
		got <- err
		tk.Release()
	}()
	b.waiting("generous", 1)
	held[0].Release()
	if err := <-got; err != nil {
		t.Error(err)
	}
	for i := range held {
		held[i].Release()
	}
}

// One user's flood does not keep another user's requests waiting behind it.
func TestAFloodDoesNotStarveOthers(t *testing.T) {
	b := start(t, 2, time.Minute)
	a := b.only("shared", flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: ptr[int32](500), BorrowingLimitPercent: ptr[int32](0),
		LimitResponse: queuing(64, 6, 1000)}, flowcontrolv1.FlowDistinguisherMethodByUserType)
	one, err := b.c.Admit(t.Context(), a, 2)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	ask := func(name string) {
		attributes := *a
		attributes.User.Name = name
		wg.Go(func() {
			tk, err := b.c.Admit(context.Background(), &attributes, 2)
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			tk.Release()
		})
	}
	for range 200 {
		ask("flood")
	}
	b.waiting("shared", 200)
	for i := range 3 {
		ask(fmt.Sprintf("other-%d", i))
	}
	b.waiting("shared", 203)
	one.Release()
	wg.Wait()
	for i, name := range order {
		if i > 60 && name != "flood" {
			t.Errorf("%s was served as number %d of %d", name, i, len(order))
		}
	}
}

// However requests come and go, no level has more than its ceiling, the seats in use never
// exceed the total, and all come back.
func TestSeatsAreNeverExceeded(t *testing.T) {
	b := start(t, 8, time.Minute)
	levels := []*auth.Attributes{
		b.only("one", flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: ptr[int32](10), LendablePercent: ptr[int32](50), LimitResponse: queuing(8, 2, 100)}, "ByUser"),
		b.only("two", flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: ptr[int32](10), BorrowingLimitPercent: ptr[int32](50), LimitResponse: queuing(8, 2, 100)}, "ByUser"),
	}
	var mu sync.Mutex
	inUse, most := 0, 0
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			a := *levels[i%2]
			a.User.Name = fmt.Sprint("u", i%7)
			seats := 1 + i%3
			tk, err := b.c.Admit(context.Background(), &a, seats)
			if err != nil {
				return
			}
			mu.Lock()
			inUse += seats
			most = max(most, inUse)
			mu.Unlock()
			mu.Lock()
			inUse -= seats
			mu.Unlock()
			tk.Release()
		})
	}
	wg.Wait()
	// Rounding up gives the levels some seats more than there are.
	if most > 8+3 {
		t.Errorf("%d seats of 8 were in use", most)
	}
	for _, name := range []string{"one", "two"} {
		if n := b.gauge("apiserver_flowcontrol_current_executing_seats", name); n != 0 {
			t.Errorf("%s has %v seats in use at the end", name, n)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	c, err := fairness.New(fairness.Config{Seats: 600})
	if err != nil {
		b.Fatal(err)
	}
	a := user("anne")
	b.ReportAllocs()
	for b.Loop() {
		tk, err := c.Admit(context.Background(), a, 1)
		if err != nil {
			b.Fatal(err)
		}
		tk.Release()
	}
}
