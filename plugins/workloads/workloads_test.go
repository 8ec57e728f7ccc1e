package workloads_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/plugins/workloads"
)

func TestConfigure(t *testing.T) {
	tests := []struct{ settings, problem string }{
		{``, ""},
		{`{"rootCA":"pem","disabled":["podgc"],"terminatedPodGCThreshold":0}`, ""},
		{`{"rootca":"x","unknown":1}`, "unknown"},
		{`{"disabled":["nothing"]}`, "disabled[0]"},
		{`{"nodeMonitorGracePeriodSeconds":0}`, "nodeMonitorGracePeriodSeconds"},
		{`{"nodeMonitorPeriodSeconds":-1}`, "nodeMonitorPeriodSeconds"},
		{`{"terminatedPodGCThreshold":-1}`, "terminatedPodGCThreshold"},
		{`{} {}`, "more than one"},
	}
	for _, tt := range tests {
		err := workloads.New().Configure(context.Background(), []byte(tt.settings))
		if (err == nil) != (tt.problem == "") || (err != nil && !strings.Contains(err.Error(), tt.problem)) {
			t.Errorf("%s: %v", tt.settings, err)
		}
	}
}
