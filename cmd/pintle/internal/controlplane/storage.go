package controlplane

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/store"
)

// StoragePath shows how this server's store is, its alarms among it, to those who may get it.
const StoragePath = "/apis/core.pintle.dev/v1/storage"

// addStorage shows how the store is. Alarms leave readiness alone: reads go on.
func (s *Server) addStorage(cfg *apiserver.Config, metrics *prometheus.Registry) error {
	cfg.Handlers[StoragePath] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET is supported", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(s.store.Stats()); err != nil {
			s.log.Debug("The client has gone", "error", err)
		}
	})
	return metrics.Register(storeMetrics{s.store})
}

// storeMetrics reads the store's figures when they are asked for.
type storeMetrics struct{ store *store.Store }

var (
	alarmDesc   = prometheus.NewDesc("pintle_store_alarm", "1 while the store has the alarm: NoSpace, writes are refused; Damaged, files do not have what was written.", []string{"alarm"}, nil)
	diskDesc    = prometheus.NewDesc("pintle_store_disk_bytes", "What the store occupies on disk.", nil, nil)
	freeDesc    = prometheus.NewDesc("pintle_store_free_bytes", "What is free on the store's disk.", nil, nil)
	cacheDesc   = prometheus.NewDesc("pintle_store_cache_bytes", "Memory of objects that are kept in it.", nil, nil)
	eventsDesc  = prometheus.NewDesc("pintle_store_events_bytes", "Memory of events that are kept in it for watches.", nil, nil)
	horizonDesc = prometheus.NewDesc("pintle_store_horizon", "The oldest revision whose history is complete.", nil, nil)
)

// Describe implements prometheus.Collector.
func (storeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{alarmDesc, diskDesc, freeDesc, cacheDesc, eventsDesc, horizonDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m storeMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.store.Stats()
	raised := map[string]float64{store.AlarmNoSpace: 0, store.AlarmDamaged: 0}
	for _, a := range st.Alarms {
		raised[a.Name] = 1
	}
	for name, v := range raised {
		ch <- prometheus.MustNewConstMetric(alarmDesc, prometheus.GaugeValue, v, name)
	}
	for d, v := range map[*prometheus.Desc]float64{
		diskDesc: float64(st.DiskBytes), freeDesc: float64(st.FreeBytes), cacheDesc: float64(st.CacheBytes),
		eventsDesc: float64(st.EventBytes), horizonDesc: float64(st.Horizon),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}
