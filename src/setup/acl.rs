//! The rights that the services need on the broker, as commands for an administrator. No I/O.

use crate::config::Config;
use crate::kafka::client::READER;

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
    // It is never joined; a reader that may not see it goes on, with a warning.
    lines.push(format!("{base} --group {READER} --operation Describe"));
    lines.push(format!("{base} --cluster --operation IdempotentWrite"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::worker::group;

    #[test]
    fn what_services_and_commands_use_is_covered() {
        let text = "[kafka]\ntopic_prefix = \"prod.\"\n[[pipeline]]\npreset = \"waf\"\n\
                    [pipeline.topics]\nraw = \"logs\"\nrejected = \"refused\"\n";
        let config = Config::parse(text, "test", &Environment::default()).unwrap();
        let pipeline = &config.pipelines[0];
        let lines = commands(&config);
        for (kind, used) in [
            ("topic", "logs".to_owned()),
            ("topic", "refused".to_owned()),
            ("group", group(&config, pipeline, "transform")),
            ("group", crate::sink::worker::group(&config, pipeline)),
            ("group", READER.to_owned()),
            ("transactional-id", format!("{}.a.0", group(&config, pipeline, "score"))),
        ] {
            let covered = lines.iter().any(|line| {
                let name = line.split(&format!("--{kind} ")).nth(1).and_then(|rest| rest.split(' ').next());
                let prefixed = line.contains("--resource-pattern-type prefixed");
                name.is_some_and(|name| name == used || prefixed && used.starts_with(name))
            });
            assert!(covered, "{kind} {used} in\n{}", lines.join("\n"));
        }
    }
}
