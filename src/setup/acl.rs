//! The rights that the services need on the broker, as commands for an administrator. No I/O.

use crate::config::Config;

/// One `kafka-acls.sh` command a topic, group or transactional id.
pub fn commands(config: &Config) -> Vec<String> {
    let user = config.kafka.properties.get("sasl.username").map_or("USER", |name| name.expose());
    let base = format!(
        "kafka-acls.sh --bootstrap-server {} --add --allow-principal User:{user}",
        config.kafka.bootstrap_servers
    );
    let mut lines = Vec::new();
    for pipeline in &config.pipelines {
        let topics = &pipeline.topics;
        for topic in [
            &topics.raw,
            &topics.enriched,
            &topics.windows,
            &topics.scores,
            &topics.state,
            &topics.anomalies,
            &topics.alerts,
            &topics.rejected,
        ] {
            lines.push(format!(
                "{base} --topic {topic} --operation Read --operation Write --operation Describe --operation DescribeConfigs"
            ));
        }
        let own = format!("{}{}", config.kafka.topic_prefix, pipeline.name);
        lines.push(format!("{base} --group {own}. --resource-pattern-type prefixed --operation Read"));
        lines.push(format!(
            "{base} --transactional-id {own}. --resource-pattern-type prefixed --operation Write --operation Describe"
        ));
    }
    lines.push(format!("{base} --cluster --operation IdempotentWrite"));
    lines
}
