package apiserver_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver/corev1"
)

func (a *api) history(path string, header ...string) corev1.History {
	a.t.Helper()
	var h corev1.History
	if err := json.Unmarshal(a.must(200, "GET", corev1.HistoryPath+path, "", header...).body, &h); err != nil {
		a.t.Fatal(err)
	}
	return h
}

func TestHistoryOfAnObject(t *testing.T) {
	a := newTransactionAPI(t)
	a.must(201, "POST", cms+"?fieldManager=maker", `{"metadata":{"name":"c"},"data":{"a":"1","b":"1"}}`)
	a.must(200, "PATCH", cms+"/c?fieldManager=changer", `{"data":{"b":"2","x.y":"3"},"metadata":{"labels":{"l":"v"}}}`, "Content-Type", "application/merge-patch+json")
	a.must(201, "POST", cms, `{"metadata":{"name":"other"}}`)
	a.must(200, "DELETE", cms+"/c", "")
	a.must(201, "POST", cms+"?fieldManager=again", `{"metadata":{"name":"c"},"data":{"z":""}}`)

	h := a.history(cms + "/c")
	var got []string
	for _, r := range h.Items {
		got = append(got, fmt.Sprint(r.Type, " ", r.Name, " ", r.Managers, " ", r.Changed, " ", r.Time != nil, r.User))
	}
	want := []string{"Created c [maker] [] true", "Updated c [changer] [.data.b .data[\"x.y\"] .metadata.labels] true", "Deleted c [] [] trueroot", "Created c [again] [] true"}
	if !slices.Equal(got, want) || h.Kind != "History" || h.More {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for _, r := range h.Items {
		if !strings.Contains(string(r.Object), `"resourceVersion":"`+r.ResourceVersion+`"`) {
			t.Errorf("%s: %s", r.ResourceVersion, r.Object)
		}
	}
	if last := h.Items[2].Object; !strings.Contains(string(last), `"b":"2"`) {
		t.Errorf("the last state was %s", last)
	}
	if now := a.must(200, "GET", cms+"/c", ""); string(now.body) != string(h.Items[3].Object) {
		t.Errorf("now it is %s", now.body)
	}
	if h := a.history(cms + "/c?limit=2&objects=false"); !h.More || len(h.Items) != 2 || h.Items[0].Type != "Deleted" || h.Items[0].Object != nil {
		t.Errorf("the newest two are %+v", h)
	}
	if h := a.history(cms); len(h.Items) != 5 || h.Items[2].Name != "other" || h.Items[2].Namespace != "default" {
		t.Errorf("all are %+v", h)
	}
	a.must(404, "GET", corev1.HistoryPath+cms+"/none", "")
	a.must(404, "GET", corev1.HistoryPath+"/api/v1/whats", "")
	a.must(403, "GET", corev1.HistoryPath+cms+"/c", "", "X-User", "nobody")
	a.must(400, "GET", corev1.HistoryPath+cms+"/c?limit=0", "")
	a.must(405, "DELETE", corev1.HistoryPath+cms+"/c", "")
	a.must(405, "GET", corev1.HistoryPath+cms+"?watch=1", "")
}

// TestHistoryTellsOnlyWhatIsTrue: a change that managedFields say nothing of is nobody's.
func TestHistoryTellsOnlyWhatIsTrue(t *testing.T) {
	a := newTransactionAPI(t)
	a.must(201, "POST", pods+"?fieldManager=maker", `{"metadata":{"name":"p"},"spec":{}}`)
	a.must(201, "POST", pods+"/p/binding", `{"target":{"name":"node"}}`)
	o := a.must(200, "GET", pods+"/p", "").object(t)
	managed := strings.ReplaceAll(compactTree(at(o, "metadata.managedFields")), "maker", "taker")
	a.must(200, "PATCH", pods+"/p", `{"metadata":{"managedFields":`+managed+`}}`, "Content-Type", "application/merge-patch+json")
	h := a.history(pods + "/p")
	if len(h.Items) != 3 || !slices.Equal(h.Items[2].Changed, []string{".metadata.managedFields"}) || h.Items[1].Managers != nil || h.Items[1].Time != nil || !slices.Equal(h.Items[1].Changed, []string{".spec.nodeName"}) {
		t.Errorf("%+v", h.Items)
	}
}
