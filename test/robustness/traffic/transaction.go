package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// transaction is what core.pintle.dev takes: all operations, or none.
type transaction struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Operations []operation `json:"operations"`
}

type operation struct {
	Verb          string            `json:"verb"`
	APIVersion    string            `json:"apiVersion"`
	Kind          string            `json:"kind"`
	Namespace     string            `json:"namespace"`
	Name          string            `json:"name"`
	Object        *configMap        `json:"object,omitempty"`
	PatchType     string            `json:"patchType,omitempty"`
	Patch         any               `json:"patch,omitempty"`
	Preconditions map[string]string `json:"preconditions,omitempty"`
}

func (c *Client) transact(ctx context.Context, op *history.Operation) {
	tx := transaction{APIVersion: "core.pintle.dev/v1", Kind: "Transaction"}
	for i := range op.Changes {
		tx.Operations = append(tx.Operations, operationOf(&op.Changes[i]))
	}
	a := do(ctx, c.HTTP, http.MethodPost, c.Target.URLs[op.Server]+"/apis/core.pintle.dev/v1/transactions", "application/json", tx)
	if a.status != http.StatusOK && a.status != http.StatusCreated {
		failed(op, a)
		return
	}
	op.Status, op.Outcome = a.status, history.OK
	var done struct {
		Status struct {
			Results []struct {
				Object configMap `json:"object"`
			} `json:"results"`
		} `json:"status"`
	}
	if err := json.Unmarshal(a.body, &done); err != nil || len(done.Status.Results) != len(op.Changes) {
		op.Outcome, op.Message = history.Wrong, fmt.Sprintf("a transaction of %d operations answered %.300s", len(op.Changes), a.body)
		return
	}
	for i := range done.Status.Results {
		ch, m := &op.Changes[i], &done.Status.Results[i].Object
		v, err := m.version()
		if err == nil && m.key() != ch.Key {
			err = fmt.Errorf("a write of %s answered with %s", ch.Key, m.key())
		}
		if err != nil {
			op.Outcome, op.Message = history.Wrong, fmt.Sprintf("operation %d: %v", i, err)
		}
		if ch.Verb == history.Delete {
			v = history.Version{UID: v.UID}
		}
		ch.Result = &v
	}
}

func operationOf(ch *history.Change) operation {
	namespace, name, _ := strings.Cut(string(ch.Key), "/")
	o := operation{Verb: string(ch.Verb), APIVersion: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name}
	switch ch.Verb {
	case history.Create, history.Update:
		m := objectOf(ch)
		o.Object = &m
	case history.Patch:
		o.PatchType, o.Patch = mergePatch, patchOf(ch)
	case history.Delete:
		o.Preconditions = map[string]string{}
		if ch.GuardRevision != 0 {
			o.Preconditions["resourceVersion"] = strconv.FormatUint(ch.GuardRevision, 10)
		}
		if ch.GuardUID != "" {
			o.Preconditions["uid"] = ch.GuardUID
		}
	}
	return o
}
