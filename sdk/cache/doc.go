// Package cache keeps of watched objects what somebody reads, once for all who read it.
//
// Ten controllers of one process that watch Pods share one watch, and of each pod the fields
// that any of them names: they are cut out of the JSON that the server sends, and the rest is
// never decoded. So a pod takes some hundred bytes of memory in place of ten times some
// kilobytes.
//
//	type pod struct { // what is read of a Pod
//		Metadata struct {
//			Name, Namespace string
//			Labels          map[string]string
//		}
//		Spec struct{ NodeName string }
//	}
//
//	c, err := cache.New(env.Config)
//	pods, err := cache.View[pod](c, cache.Query{Resource: corev1.SchemeGroupVersion.WithResource("pods")})
//	byNode := pods.Index(func(p *pod) []string { return []string{p.Spec.NodeName} })
//	pods.Handle(cache.Handler[pod]{Update: func(old, new *pod) { queue.Add(new.Metadata.Name) }})
//	go c.Run(ctx)
//	err = pods.WaitSynced(ctx)
//	for p := range byNode.Get("node-1") { … }
//
// An update that changes nothing that a view reads is no event for it.
//
// The server has to send lists as watches (sendInitialEvents), as Pintle does and Kubernetes
// from 1.34 on. The package knows no kinds; what is written goes to the API server by other
// clients, and what is read is as old as a watch is.
package cache
