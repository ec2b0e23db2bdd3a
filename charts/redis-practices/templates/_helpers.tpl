{{- define "redis-practices.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{- define "redis-practices.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "redis-practices.many" -}}
{{- if gt (int .Values.judges) 1 }}many{{ end -}}
{{- end }}

{{- /* The Job of a run, for `helm test` of several judges and for the CronJob. */}}
{{- define "redis-practices.job" -}}
{{- if include "redis-practices.many" . -}}
completionMode: Indexed
completions: {{ .Values.judges }}
parallelism: {{ .Values.judges }}
# A judge that was killed is run again; a refusal or a wrong option would be the same again.
backoffLimitPerIndex: 2
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]   # a drained node
    - action: FailIndex
      onExitCodes: {containerName: gate, operator: In, values: [1, 4]}
activeDeadlineSeconds: {{ .Values.deadlineSeconds }}
ttlSecondsAfterFinished: 86400
{{- else -}}
# No retry: the same deployment would be refused again.
backoffLimit: 0
{{- end }}
template:
  metadata:
    labels:
      {{- include "redis-practices.labels" . | nindent 6 }}
      app.kubernetes.io/component: judge
      {{- with .Values.podLabels }}{{ toYaml . | nindent 6 }}{{ end }}
  spec:
    {{- include "redis-practices.pod" . | nindent 4 }}
{{- end }}

{{- /* The Pod of a run, for `helm test` and for the Jobs. */}}
{{- define "redis-practices.pod" -}}
{{- $urls := join "" (values .Values.urls) -}}
{{- if and $urls .Values.existingSecret }}{{ fail "urls and existingSecret: give one of them" }}{{ end -}}
{{- if not (or $urls .Values.existingSecret) }}
{{- fail "there is nothing to judge: give existingSecret, or urls.cache, urls.cluster, urls.broker or urls.results" }}
{{- end -}}
{{- $many := include "redis-practices.many" . -}}
{{- if and $many (not .Values.resultsClaim) }}
{{- fail "judges: several of them need resultsClaim, a PersistentVolumeClaim with ReadWriteMany for their parts" }}
{{- end -}}
restartPolicy: Never
{{- if not $many }}
activeDeadlineSeconds: {{ .Values.deadlineSeconds }}
{{- end }}
automountServiceAccountToken: false
# A Service named "cache" would set CACHE_PORT.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $many }}
# A cluster with fewer nodes than judges must run them as well.
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: judge}
{{- end }}
containers:
  - name: gate
    image: {{ required "image.repository is needed: where you pushed the image, see docs/ci.md" .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    {{- if $many }}
    # Each run has its own folder. A part is done if it accepts (0) or refuses (1).
    command:
      - sh
      - -c
      - |
        redis-practices "$@" --report "/results/$RUN/parts/$JOB_COMPLETION_INDEX"
        code=$?
        [ $code -le 1 ] || exit $code
        [ "$JOB_COMPLETION_INDEX" = 0 ] || exit 0
        redis-practices merge --wait {{ div .Values.deadlineSeconds 2 }} "/results/$RUN/parts" --report "/results/$RUN/verdict" || exit 1
      - redis-practices
    {{- end }}
    args: {{- toYaml .Values.arguments | nindent 6 }}
    env:
      {{- $secret := .Values.existingSecret | default (include "redis-practices.name" .) }}
      {{- range $role, $url := .Values.urls }}
      {{- if or $url $.Values.existingSecret }}
      - name: {{ upper $role }}_URL
        valueFrom:
          secretKeyRef: {name: {{ $secret }}, key: {{ upper $role }}_URL{{ if not $url }}, optional: true{{ end }}}
      {{- end }}
      {{- end }}
      {{- if $many }}
      - {name: JOB_COMPLETIONS, value: {{ .Values.judges | quote }}}
      - name: RUN
        valueFrom:
          fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/controller-uid']"}
      {{- end }}
    resources: {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: results, mountPath: /results}
      - {name: tmp, mountPath: /tmp}
      {{- if .Values.certificates }}
      - {name: certificates, mountPath: /certificates, readOnly: true}
      {{- end }}
      {{- if .Values.practices }}
      - {name: practices, mountPath: /app/practices.toml, subPath: practices.toml, readOnly: true}
      {{- end }}
volumes:
  - name: results
    {{- if .Values.resultsClaim }}
    persistentVolumeClaim: {claimName: {{ .Values.resultsClaim }}}
    {{- else }}
    emptyDir: {}
    {{- end }}
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 256Mi}
  {{- with .Values.certificates }}
  - name: certificates
    secret: {secretName: {{ . }}}
  {{- end }}
  {{- if .Values.practices }}
  - name: practices
    configMap: {name: {{ include "redis-practices.name" . }}}
  {{- end }}
{{- end }}
