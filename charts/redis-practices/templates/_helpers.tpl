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

{{- /* The Pod of a run, for `helm test` and for the CronJob. */}}
{{- define "redis-practices.pod" -}}
{{- $urls := join "" (values .Values.urls) -}}
{{- if and $urls .Values.existingSecret }}{{ fail "urls and existingSecret: give one of them" }}{{ end -}}
{{- if not (or $urls .Values.existingSecret) }}
{{- fail "there is nothing to judge: give existingSecret, or urls.cache, urls.cluster, urls.broker or urls.results" }}
{{- end -}}
restartPolicy: Never
activeDeadlineSeconds: {{ .Values.deadlineSeconds }}
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
containers:
  - name: gate
    image: {{ required "image.repository is needed: where you pushed the image, see docs/ci.md" .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args: {{- toYaml .Values.arguments | nindent 6 }}
    envFrom:
      - secretRef: {name: {{ .Values.existingSecret | default (include "redis-practices.name" .) }}}
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
