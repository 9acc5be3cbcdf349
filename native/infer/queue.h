// SPDX-License-Identifier: Apache-2.0
// Requests of one kind that wait for the compute thread, first in, first out. Its owner holds the lock.
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <iterator>
#include <set>
#include <utility>

namespace vpref {

// Item: has an id, and a callback `done`.
template <class Item>
class Queue {
 public:
  bool empty() const { return items_.empty(); }
  const Item& front() const { return items_.front(); }
  void push(Item item) { items_.push_back(std::move(item)); }
  Item pop() {
    Item item = std::move(items_.front());
    items_.pop_front();
    return item;
  }
  // Makes it the next one again.
  void put_back(Item item) { items_.push_front(std::move(item)); }
  // Removes and returns the items with these ids.
  std::deque<Item> take(const std::set<uint64_t>& ids) {
    const auto rest =
        std::stable_partition(items_.begin(), items_.end(), [&](const Item& item) { return !ids.contains(item.id); });
    std::deque<Item> taken(std::make_move_iterator(rest), std::make_move_iterator(items_.end()));
    items_.erase(rest, items_.end());
    return taken;
  }
  std::deque<Item> take_all() { return std::exchange(items_, {}); }

 private:
  std::deque<Item> items_;
};

}  // namespace vpref
