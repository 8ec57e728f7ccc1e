package apiserver

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/crd"
	"github.com/pintle-dev/pintle/crd/registry"
)

// metrics are upstream's by name and labels, so that existing dashboards read them.
type metrics struct {
	requests requestSeries
	// known reports whether what a request asked for exists.
	known   func(gvr schema.GroupVersionResource, subresource string) bool
	watches *prometheus.GaugeVec
	events  *prometheus.CounterVec
}

// component is this one's name in upstream's metrics.
const component = "apiserver"

func newMetrics(r *prometheus.Registry, known func(schema.GroupVersionResource, string) bool, reads, writes func() float64) (*metrics, error) {
	m := &metrics{known: known,
		watches: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_longrunning_requests",
			Help: "Watches being served, by group, version, resource and scope."},
			[]string{"verb", "group", "version", "resource", "subresource", "scope", "component"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_watch_events_total",
			Help: "Events sent to watchers."}, []string{"group", "version", "resource"}),
	}
	inflight := func(kind string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "apiserver_current_inflight_requests",
			Help: "Requests being served.", ConstLabels: prometheus.Labels{"request_kind": kind}}, f)
	}
	return m, registerAll(r, &m.requests, m.watches, m.events,
		inflight("readOnly", reads), inflight("mutating", writes),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// registerAll registers collectors; those that are registered already stay.
func registerAll(r *prometheus.Registry, all ...prometheus.Collector) error {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			if already := (prometheus.AlreadyRegisteredError{}); !errors.As(err, &already) {
				return fmt.Errorf("register metrics: %w", err)
			}
		}
	}
	return nil
}

// scope of a request, as upstream names them.
func (rt *route) scope() string {
	switch {
	case !rt.resource:
		return ""
	case rt.name != "":
		return "resource"
	case rt.namespace != "":
		return "namespace"
	}
	return "cluster"
}

// upstreamVerbs are the verbs that metrics spell in another way than authorization does.
var upstreamVerbs = map[string]string{"create": "POST", "update": "PUT"}

// otherVerb is every method that no API has: clients may send any word as one, and nobody need
// know them for that.
const otherVerb = "other"

func countedVerb(verb string) string {
	switch verb {
	case "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "post", "put", "head", "options", "connect":
		return verb
	}
	return otherVerb
}

func metricVerb(verb string) string {
	if verb == otherVerb {
		return verb
	}
	if v, ok := upstreamVerbs[verb]; ok {
		return v
	}
	return strings.ToUpper(verb)
}

// done counts a request that has been answered with so many bytes.
func (m *metrics) done(rt *route, code int, written int64, took time.Duration) {
	if code == 0 {
		code = 200
	}
	key := seriesKey{verb: countedVerb(rt.verb), code: code}
	if rt.resource && code != 404 && (code < 400 || m.known(rt.gvr, rt.subresource)) {
		key.group, key.version, key.resource, key.subresource = rt.gvr.Group, rt.gvr.Version, rt.gvr.Resource, rt.subresource
		key.scope, key.dry = rt.scope(), rt.dry
	}
	m.requests.done(key, written, took)
}

// counts gives the number of objects of each type when it is asked for.
type counts struct {
	store interface {
		Count(prefix store.Key) int
		Revision() uint64
	}
	types *registry.Registry
}

var (
	objectsDesc = prometheus.NewDesc("apiserver_resource_objects", "Objects stored, by group and resource.", []string{"group", "resource"}, nil)
	// oldObjectsDesc is the name by which dashboards knew it before.
	oldObjectsDesc = prometheus.NewDesc("apiserver_storage_objects", "Objects stored, by resource.", []string{"resource"}, nil)
	revisionDesc   = prometheus.NewDesc("pintle_store_revision", "The newest revision.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c counts) Describe(ch chan<- *prometheus.Desc) {
	ch <- objectsDesc
	ch <- oldObjectsDesc
	ch <- revisionDesc
}

// Collect implements prometheus.Collector.
func (c counts) Collect(ch chan<- prometheus.Metric) {
	seen := map[schema.GroupResource]bool{}
	snapshot := c.types.Snapshot()
	for _, g := range snapshot.Groups {
		for _, v := range g.Versions {
			for _, t := range v.Types {
				if d := t.Definition; !d.Virtual && !seen[d.GroupResource()] {
					seen[d.GroupResource()] = true
					c.collect(ch, d)
				}
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(revisionDesc, prometheus.GaugeValue, float64(c.store.Revision()))
}

func (c counts) collect(ch chan<- prometheus.Metric, d *crd.Definition) {
	n := float64(c.store.Count(store.Key(registry.Bucket(d) + "/")))
	gr := d.GroupResource()
	ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, n, gr.Group, gr.Resource)
	ch <- prometheus.MustNewConstMetric(oldObjectsDesc, prometheus.GaugeValue, n, gr.String())
}
