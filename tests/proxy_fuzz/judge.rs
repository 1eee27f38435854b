//! Compares what both readers make of what was sent with what they make of what arrived.

use super::case::{Case, Side};
use super::hyper_reader;
use super::lane::{Lane, MARKER, Observed};
use super::node_reader::Node;
use super::planted::{Place, Plant};
use super::reading::{Message, Reading};
use super::rules::{self, Standpoint};

/// A proxy under test, with both readers.
pub struct Court {
    lane: Lane,
    node: Node,
    plant: Option<Plant>,
}

/// A difference, in words.
type Verdict = Result<(), String>;

impl Court {
    /// With `plant` the proxy has that bug.
    pub fn open(plant: Option<Plant>) -> Court {
        Court {
            lane: Lane::start(),
            node: Node::start(),
            plant,
        }
    }

    /// Puts a case to the proxy.
    pub async fn hear(&mut self, case: &Case) -> Verdict {
        let observed = self.observe(case).await;
        match case.side {
            Side::Client => self.judge_requests(case, &observed).await,
            Side::Upstream { .. } => self.judge_answer(case, &observed).await,
        }
    }

    async fn observe(&self, case: &Case) -> Observed {
        let Some(plant) = &self.plant else {
            return self.lane.run(case).await;
        };
        if case.side == Side::Client {
            let bytes = case.bytes();
            let spoiled = plant.at(Place::Request, &bytes);
            let mut observed = if spoiled == bytes {
                self.lane.run(case).await
            } else {
                self.lane.run(&case.with_bytes(spoiled)).await
            };
            for stream in &mut observed.upstream {
                *stream = plant.at(Place::Arrival, stream);
            }
            return observed;
        }
        let mut observed = self.lane.run(case).await;
        let is_head = matches!(case.side, Side::Upstream { method: "HEAD", .. });
        observed.client = plant.at(Place::Answer, &observed.client);
        if is_head {
            observed.client = plant.at(Place::AnswerToHead, &observed.client);
        }
        observed
    }

    async fn judge_requests(&mut self, case: &Case, observed: &Observed) -> Verdict {
        let standpoint = Standpoint {
            trusted: case.trusted,
            port: self.lane.port(case),
        };
        let sent = case.bytes();
        let (mut by_hyper, mut by_node) = (Reading::default(), Reading::default());
        for stream in &observed.upstream {
            add(&mut by_hyper, hyper_reader::requests(stream).await);
            add(&mut by_node, self.node.requests(stream).await);
        }
        let sent_by_hyper = hyper_reader::requests(&sent).await;
        let sent_by_node = self.node.requests(&sent).await;
        // hyper reads no further than to a target with characters it does not like.
        let likes = |reading: &Reading| !has_error(reading, "invalid URI");
        if likes(&by_hyper) {
            arrived_as_sent("hyper", &sent_by_hyper, &by_hyper, standpoint)?;
        }
        // Node knows a fixed list of methods, and reads no further than to another one.
        let knows = |reading: &Reading| !has_error(reading, "HPE_INVALID_METHOD");
        if knows(&by_node) {
            if !has_tab_at_end(&sent) {
                arrived_as_sent("Node", &sent_by_node, &by_node, standpoint)?;
            }
            if likes(&by_hyper) {
                agree(&by_hyper, &by_node)?;
            }
        }
        if case.is_valid
            && by_node.messages.iter().filter(|message| message.complete).count()
                < sent_by_node.messages.len()
        {
            let refusal = String::from_utf8_lossy(&observed.client);
            return Err(format!(
                "a valid request did not arrive; the client got {refusal:?}"
            ));
        }
        // The upstream that answers reads with hyper, too.
        if likes(&by_hyper) {
            self.judge_numbers(&by_hyper, &observed.client).await?;
        }
        Ok(())
    }

    /// The client gets the answers in the order of its requests, and at the end perhaps one of the proxy.
    async fn judge_numbers(&mut self, arrived: &Reading, received: &[u8]) -> Verdict {
        let complete = arrived.messages.iter().filter(|message| message.complete);
        let mut methods: Vec<&str> = complete.map(|message| message.start.0.as_str()).collect();
        methods.push("GET");
        let answers = self.node.answers(&methods, received).await;
        if let Some(error) = answers.error {
            return Err(format!("the client cannot read its answers: {error}"));
        }
        let finals = answers.messages.iter().filter(|answer| !answer.is_interim());
        for (number, answer) in finals.enumerate() {
            let own = answer.values("x-number").next();
            let is_in_turn = own == Some(number.to_string().as_bytes());
            let is_refusal =
                own.is_none() && matches!(answer.start.0.as_str(), "400" | "405" | "431" | "502");
            if !is_in_turn && !is_refusal {
                return Err(format!("answer {number} is {answer:?}"));
            }
        }
        Ok(())
    }

    async fn judge_answer(&mut self, case: &Case, observed: &Observed) -> Verdict {
        let Side::Upstream {
            method, is_http_1_0, ..
        } = case.side
        else {
            return Ok(());
        };
        let sent = case.bytes();
        // No answer at all is asked for again.
        if sent.is_empty() {
            return Ok(());
        }
        let sent_by_hyper = hyper_reader::answer(&sent, method).await;
        let mut by_hyper = hyper_reader::answer(&observed.client, method).await;
        let sent_by_node = self.node.answers(&[method, "GET"], &sent).await;
        let mut by_node = self.node.answers(&[method, "GET"], &observed.client).await;
        if let Some(error) = &by_node.error {
            return Err(format!("the client cannot read what it got: {error}"));
        }
        if observed.was_reset {
            // A reset is no end of a body.
            let last = by_node
                .messages
                .last_mut()
                .filter(|last| ends_with_connection(last));
            let first = by_hyper
                .messages
                .first_mut()
                .filter(|first| ends_with_connection(first));
            for message in last.into_iter().chain(first) {
                message.complete = false;
            }
        }
        let mut arrived = by_node.messages.iter();
        // HTTP/1.0 knows no interim answers.
        let is_for_client = |answer: &&Message| !(is_http_1_0 && answer.is_interim());
        let mut expected = sent_by_node.messages.iter().filter(is_for_client);
        for answer in arrived.by_ref() {
            if is_own_refusal(answer) {
                break;
            }
            let Some(original) = expected.next() else {
                // The same length twice is harmless, of a length and a coding the coding decides, and an interim answer
                // cannot end a connection; Node reads none of these.
                let tolerated = ["Duplicate Content-Length", "can't be present with", "Data after"];
                if tolerated.iter().any(|words| has_error(&sent_by_node, words)) {
                    return Ok(());
                }
                return Err(format!("the client got an answer nobody sent: {answer:?}"));
            };
            if !has_tab_at_end(&sent) {
                same_answer("Node", original, answer, is_http_1_0)?;
            }
            if !answer.is_interim() {
                break;
            }
        }
        let is_refused = by_hyper.messages.first().is_none_or(is_own_refusal);
        if !is_refused {
            let Some(original) = sent_by_hyper.messages.first() else {
                return Err(format!(
                    "hyper reads no answer where the client does: {:?}",
                    sent_by_hyper.error
                ));
            };
            same_answer("hyper", original, &by_hyper.messages[0], is_http_1_0)?;
        }
        if case.is_valid && is_refused {
            return Err(format!(
                "a valid answer was not passed on; the client got {:?}",
                String::from_utf8_lossy(&observed.client)
            ));
        }
        // What follows is the answer to the next request, or nothing.
        match arrived.next() {
            None => Ok(()),
            Some(next) if next.body == MARKER.as_bytes() && arrived.next().is_none() => Ok(()),
            Some(next) => Err(format!("the next request was answered by {next:?}")),
        }
    }
}

fn add(all: &mut Reading, next: Reading) {
    all.messages.extend(next.messages);
    all.error = all.error.take().or(next.error);
}

fn has_error(reading: &Reading, words: &str) -> bool {
    reading.error.iter().any(|error| error.contains(words))
}

/// To Node a tab at the end of a line is part of the value, which RFC 9110 says it is not.
fn has_tab_at_end(sent: &[u8]) -> bool {
    sent.windows(3).any(|window| window == b"\t\r\n")
}

/// Whether Node may take a message for the last one where it is not: to Node a trailer can end a connection, and
/// `keep-alive` with a tab behind it does not keep one.
fn may_end(message: &Message) -> bool {
    message.is_http_1_0 || message.trailers.iter().any(|(name, _)| name == "connection")
}

fn is_own_refusal(answer: &Message) -> bool {
    answer.start.0 == "502"
        && answer
            .values("content-type")
            .eq([b"text/plain; charset=utf-8".as_slice()])
}

fn ends_with_connection(answer: &Message) -> bool {
    !answer.has("content-length") && !answer.has("transfer-encoding")
}

/// Everything that arrived is what had to become of what was sent.
fn arrived_as_sent(who: &str, sent: &Reading, arrived: &Reading, standpoint: Standpoint) -> Verdict {
    if let Some(error) = &arrived.error {
        return Err(format!("{who} cannot read what arrived: {error}"));
    }
    for (number, message) in arrived.messages.iter().enumerate() {
        // The same length twice is harmless, and becomes one; Node refuses it.
        let is_behind_an_end = number > 0 && sent.messages.get(number - 1).is_some_and(may_end);
        let is_tolerated = has_error(sent, "Duplicate Content-Length")
            || (has_error(sent, "Data after") && is_behind_an_end);
        if number == sent.messages.len() && is_tolerated {
            break;
        }
        let Some(original) = sent.messages.get(number) else {
            return Err(format!(
                "request {number} arrived, but {who} reads only {} in what was sent ({:?}): {message:?}",
                sent.messages.len(),
                sent.error
            ));
        };
        let mut expected = rules::request(original, standpoint)
            .map_err(|why| format!("request {number} arrived, in spite of: {why} ({who})"))?;
        // hyper does not tell an absolute target without a path from one with the shortest.
        let is_absolute = rules::absolute("", &original.start.1).is_some();
        if is_absolute && expected.start.1 == "/" && message.start.1 == "*" {
            expected.start.1 = "*".to_owned();
        }
        if let Some(difference) = message.difference(&expected) {
            return Err(format!("request {number}, read by {who}: {difference}"));
        }
    }
    Ok(())
}

/// Both readers understand the same.
fn agree(by_hyper: &Reading, by_node: &Reading) -> Verdict {
    if by_hyper.messages.len() != by_node.messages.len() {
        return Err(format!(
            "hyper reads {} requests in what arrived, Node {}",
            by_hyper.messages.len(),
            by_node.messages.len()
        ));
    }
    for (hyper, node) in by_hyper.messages.iter().zip(&by_node.messages) {
        if let Some(difference) = node.difference(hyper).or_else(|| hyper.difference(node)) {
            return Err(format!("Node and hyper differ about what arrived: {difference}"));
        }
    }
    Ok(())
}

fn same_answer(who: &str, original: &Message, arrived: &Message, is_http_1_0: bool) -> Verdict {
    let mut expected = rules::without_framing(rules::answer(original));
    if is_http_1_0 {
        // It has no chunks, so there is nothing for trailers to stand behind.
        expected.trailers.clear();
    }
    let arrived = rules::without_framing(arrived.clone());
    // A truncated body may not be all there, and a reason may be spelt by the reader itself.
    if expected.start.0 == arrived.start.0 && arrived.start.1.is_empty() {
        expected.start.1.clear();
    }
    match arrived.difference(&expected) {
        Some(difference) => Err(format!("the answer, read by {who}: {difference}")),
        None => Ok(()),
    }
}
